"""What a provider writes down about a message or a refused attempt. Times are seconds since 1970.

The JSON files are these models, so a reader gets the same values back (`model_validate_json`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

# RFC 8601, 2.7: the results an Authentication-Results field may carry for these methods.
SpfResult = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]
DkimResult = Literal["pass", "fail", "none", "policy", "temperror", "permerror"]
DmarcResult = Literal["pass", "fail", "none", "temperror", "permerror"]
ReverseResult = Literal["pass", "fail", "none", "temperror"]
Policy = Literal["none", "quarantine", "reject"]


class Value(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(Value):
    """The sending host: `reverse` is pass when a PTR name leads back to the address (FCrDNS)."""

    address: str
    port: int
    helo: str
    reverse: ReverseResult
    ptr: str | None = None
    pointers: tuple[str, ...] = ()
    helo_is_ptr: bool = False
    helo_resolves: bool = False
    reason: str = ""


class Tls(Value):
    """The session's encryption, as negotiated by STARTTLS."""

    version: str
    cipher: str


class Envelope(Value):
    """SMTP's idea of sender and recipients; `sender` is empty for a bounce."""

    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...] = ()


class Spf(Value):
    """SPF of one identity (RFC 7208)."""

    result: SpfResult
    scope: Literal["mfrom", "helo"]
    domain: str
    reason: str = ""


class Dkim(Value):
    """One DKIM-Signature field (RFC 6376), in the order of the message. `key_bits` is the RSA
    modulus, or 256 for Ed25519; None when no key was found."""

    result: DkimResult
    domain: str
    selector: str
    algorithm: str = ""
    key_bits: int | None = None
    identity: str = ""
    testing: bool = False
    reason: str = ""


class Dmarc(Value):
    """DMARC of the author domain (RFC 7489). `disposition` is what the policy asks for."""

    result: DmarcResult
    domain: str
    policy_domain: str = ""
    record: str = ""
    policy: Policy = "none"
    spf_aligned: bool = False
    dkim_aligned: bool = False
    disposition: Policy = "none"
    reason: str = ""


class Verdicts(Value):
    """Everything that was found out about one message."""

    peer: Peer
    spf: Spf
    spf_helo: Spf
    dkim: tuple[Dkim, ...]
    dmarc: Dmarc

    @property
    def temporary(self) -> bool:
        """Whether a DNS failure kept any of them from being decided."""
        results = (self.peer.reverse, self.spf.result, self.dmarc.result)
        return "temperror" in results or any(d.result == "temperror" for d in self.dkim)

    @property
    def dkim_result(self) -> DkimResult:
        """One word for all signatures: the best of them."""
        order: tuple[DkimResult, ...] = (
            "pass",
            "temperror",
            "policy",
            "fail",
            "permerror",
        )
        results = {signature.result for signature in self.dkim}
        return next((result for result in order if result in results), "none")


class Times(Value):
    """When each step of the transaction happened."""

    connected: float
    mail: float
    data: float
    stored: float


class Message(Value):
    """One accepted message. `rule` is the behaviour rule that acted on it, if one did."""

    id: str
    provider: str
    times: Times
    tls: Tls | None
    envelope: Envelope
    size: int
    sha256: str
    message_id: str
    header_from: str
    subject: str
    headers: tuple[tuple[str, str], ...]
    verdicts: Verdicts
    authentication_results: str
    folder: Literal["inbox", "spam"]
    rule: str | None = None


class Attempt(Value):
    """One refused or deferred transaction; `stage` is the SMTP command that was answered so."""

    provider: str
    time: float
    stage: Literal["mail", "rcpt", "data"]
    code: int
    reply: str
    address: str
    helo: str
    tls: Tls | None
    sender: str
    recipients: tuple[str, ...]
    message_id: str = ""
    header_from: str = ""
    rule: str | None = None
    verdicts: Verdicts | None = None


class Complaint(Value):
    """What became of one complaint about the message `id`; `reply` is the receiving MX's."""

    id: str
    time: float
    to: str
    delivered: bool
    tries: int
    reply: str
