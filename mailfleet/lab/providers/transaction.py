"""One SMTP transaction as it grows: who, to whom, what, and what was found out about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import cast

from aiosmtpd.smtp import Envelope, Session

from mailfleet.lab.providers import records
from mailfleet.lab.providers.catalogue import Provider
from mailfleet.lab.providers.evaluate import (
    Headers,
    authentication_results,
    header,
    headers_of,
)
from mailfleet.lab.providers.replies import VERDICTS, Reply, Stage, Subject


@dataclass
class Transaction:
    """Begins at MAIL; `content` and `verdicts` are there after DATA. Times are epoch seconds."""

    provider: Provider
    peer: tuple[str, int]
    helo: str
    tls: records.Tls | None
    sender: str
    options: tuple[str, ...]
    connected: float
    started: float = field(default_factory=time.time)
    recipients: tuple[str, ...] = ()
    arrived: float = 0.0
    content: bytes = b""
    headers: Headers = ()
    verdicts: records.Verdicts | None = None

    @classmethod
    def begin(
        cls, provider: Provider, session: Session, sender: str, options: list[str], connected: float
    ) -> Transaction:
        """The transaction that MAIL FROM opens."""
        address, port = cast(tuple[str, int], session.peer)[:2]  # aiosmtpd's hint says str
        return cls(
            provider=provider,
            # Link-local peers carry a zone (%eth0) that DNS does not want.
            peer=(address.partition("%")[0], port),
            helo=text(session.host_name or ""),
            tls=_tls(session),
            sender="" if sender == "<>" else text(sender),
            options=tuple(text(option) for option in options),
            connected=connected,
        )

    @property
    def address(self) -> str:
        """The sending address."""
        return self.peer[0]

    @property
    def id(self) -> str:
        """The queue id in the provider's replies."""
        return f"{int(self.started * 1000):x}{self.peer[1]:x}"

    def receive(self, envelope: Envelope) -> None:
        """Take over what DATA brought."""
        self.arrived = time.time()
        self.recipients = tuple(text(address) for address in envelope.rcpt_tos)
        self.content = envelope.original_content or b""
        self.headers = headers_of(self.content)

    def message(self, id: str, verdicts: records.Verdicts, rule: str | None) -> records.Message:
        """The record of an accepted message."""
        return records.Message(
            id=id,
            provider=self.provider.name,
            times=records.Times(
                connected=self.connected, mail=self.started, data=self.arrived, stored=time.time()
            ),
            tls=self.tls,
            envelope=records.Envelope(
                sender=self.sender, recipients=self.recipients, options=self.options
            ),
            size=len(self.content),
            sha256=sha256(self.content).hexdigest(),
            message_id=header(self.headers, "Message-ID"),
            header_from=header(self.headers, "From"),
            subject=header(self.headers, "Subject"),
            headers=self.headers,
            verdicts=verdicts,
            authentication_results=authentication_results(self.provider.mx, verdicts),
            folder="inbox" if verdicts.dmarc.disposition == "none" else "spam",
            rule=rule,
        )

    def attempt(
        self, stage: Stage, reply: Reply, recipients: tuple[str, ...], rule: str
    ) -> records.Attempt:
        """The record of a refusal. `rule` is a rule's id or the provider's own reason."""
        return records.Attempt(
            provider=self.provider.name,
            time=time.time(),
            stage=stage,
            code=reply.code,
            reply=reply.render(self.subject(recipients, rule)).replace("\r\n", "\n"),
            address=self.address,
            helo=self.helo,
            tls=self.tls,
            sender=self.sender,
            recipients=recipients,
            message_id=header(self.headers, "Message-ID"),
            header_from=header(self.headers, "From"),
            rule=rule,
            verdicts=self.verdicts,
        )

    def subject(self, recipients: tuple[str, ...], rule: str) -> Subject:
        """What the placeholders of a refusal stand for."""
        yes, no = VERDICTS[self.provider.name]
        domain = self.sender.rpartition("@")[2]
        spf = dkim = dmarc = ""
        if self.verdicts is not None:
            spf = yes if self.verdicts.spf.result == "pass" else no
            dkim = yes if self.verdicts.dkim_result == "pass" else no
            dmarc = yes if self.verdicts.dmarc.result == "pass" else no
            # Google names the SPF domain when nothing authenticated; otherwise it is the author's.
            by_spf = self.provider.name == "google" and rule == "unauthenticated"
            author = self.verdicts.dmarc.domain or domain
            domain = self.verdicts.spf.domain if by_spf else author
        return Subject(
            address=self.address,
            host=self.provider.mx,
            id=self.id,
            domain=domain,
            recipient=", ".join(recipients),
            spf=spf,
            dkim=dkim,
            dmarc=dmarc,
        )


def text(value: str) -> str:
    """What a peer said, without the surrogates that aiosmtpd has for bytes that are no UTF-8."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _tls(session: Session) -> records.Tls | None:
    if not session.ssl:
        return None
    name, version, _ = session.ssl["cipher"]
    return records.Tls(version=version, cipher=name)
