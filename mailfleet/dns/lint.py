"""Checks of the planned records before anybody sees them: checkdmarc over the planned view.

checkdmarc asks a name server of our own making, which answers from the zones as they will be and
passes on what lies elsewhere (third parties' SPF). It is imported late: that costs half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.nameserver
import dns.rcode
import dns.resolver
import dns.rrset
from dns.rdatatype import RdataType

from mailfleet.dns.changes import applied
from mailfleet.dns.claims import Claim, Desired, Kind
from mailfleet.dns.draft import NOT_OURS, Draft
from mailfleet.dns.errors import Refusal
from mailfleet.dns.providers.base import World
from mailfleet.dns.records import Key, RRset, canonical_name, longest_zone, parse, txt_text

MAX_LOOKUPS, MAX_VOID = 10, 2  # RFC 7208 section 4.6.4
MAX_TEXT = 512  # RFC 7208 section 3.4
TIMEOUT = 5.0

# A question to the real DNS: (name, type) -> message, or None when nothing answered.
Ask = Callable[[dns.message.QueryMessage], dns.message.Message | None]


@dataclass
class Findings:
    """`refusals` stop a plan; `notes` say what could not be checked."""

    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def system_resolver(request: dns.message.QueryMessage) -> dns.message.Message | None:
    """Ask the name servers of this machine; None when none answers in time."""
    question = request.question[0]
    try:
        answer = dns.resolver.resolve(
            question.name, question.rdtype, lifetime=TIMEOUT, raise_on_no_answer=False
        )
        return cast(dns.message.Message, answer.response)
    except dns.resolver.NXDOMAIN:
        response = dns.message.make_response(request)
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response
    except (dns.exception.DNSException, OSError):
        return None


def nobody(request: dns.message.QueryMessage) -> dns.message.Message | None:
    """Ask no one: offline."""
    return None


class PlannedView(dns.nameserver.Nameserver):
    """A name server that answers from the planned zones, and from elsewhere for the rest."""

    def __init__(self, zones: Mapping[str, Mapping[Key, RRset]], whole: set[str], ask: Ask) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._zones, self._whole, self._ask = zones, whole, ask
        self.unanswered: set[str] = set()

    def __str__(self) -> str:
        return "the planned zones"

    def kind(self) -> str:
        return "planned"

    def is_always_max_size(self) -> bool:
        return True

    def answer_nameserver(self) -> str:
        return "planned"

    def answer_port(self) -> int:
        return 53

    def query(  # noqa: PLR0917 (dnspython's)
        self,
        request: dns.message.QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> dns.message.Message:
        question = request.question[0]
        name = canonical_name(question.name)
        response = dns.message.make_response(request)
        response.flags |= dns.flags.AA | dns.flags.RA
        zone = longest_zone(name, self._zones)
        if zone is not None:
            rrsets = self._zones[zone]
            found = rrsets.get((name, question.rdtype)) or rrsets.get((name, RdataType.CNAME))
            if found is not None:
                _add(response, found)
            elif zone not in self._whole:
                zone = None
            elif not any(known == name or known.endswith("." + name) for known, _ in rrsets):
                response.set_rcode(dns.rcode.NXDOMAIN)
        if zone is None:
            answer = self._ask(request)
            if answer is None:
                # Unknown is not wrong: stand in with a record that costs one lookup, and say so.
                self.unanswered.add(name)
                if question.rdtype == RdataType.TXT:
                    _add(response, RRset(name, question.rdtype, 0, frozenset([_STAND_IN])))
            else:
                response.set_rcode(answer.rcode())
                response.answer = answer.answer
        return dns.message.from_wire(response.to_wire())


_STAND_IN = parse(RdataType.TXT, '"v=spf1 ?all"')


def _add(response: dns.message.Message, rrset: RRset) -> None:
    ttl = rrset.ttl or 0
    owner = dns.name.from_text(rrset.name or ".")
    response.answer.append(dns.rrset.from_rdata_list(owner, ttl, sorted(rrset.rdatas)))


def check(desired: Desired, world: World, draft: Draft, ask: Ask) -> Findings:
    """Lint the SPF of every domain, when the plan changes anything that SPF consists of."""
    findings = Findings()
    changed = [c for zone in draft.zones for c in zone.changes if c.writes]
    if not any(change.kind == Kind.SPF for change in changed):
        return findings
    changes = {zone.zone: zone.changes for zone in draft.zones}
    planned = {
        name: applied(view.rrsets, changes.get(name, ()))
        for name, view in world.items()
        if name != NOT_OURS
    }
    whole = {name for name in planned if world[name].complete}
    server = PlannedView(planned, whole, ask)
    for claims in _distinct(claim for claim in desired.claims if claim.kind is Kind.SPF):
        _spf(claims, server, findings)
    for name in sorted(server.unanswered):
        findings.notes.append(f"not checked, because nothing answered for it: {name}")
    return findings


def _distinct(claims: Iterable[Claim]) -> list[list[Claim]]:
    """Claims by their text: a thousand domains with one SPF record are one check."""
    groups: dict[tuple[str, ...], list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.rrset.texts, []).append(claim)
    return list(groups.values())


def _spf(claims: list[Claim], server: PlannedView, findings: Findings) -> None:
    import checkdmarc.spf  # noqa: PLC0415 (slow)
    import checkdmarc.utils  # noqa: PLC0415

    checkdmarc.utils.DNS_CACHE.clear()
    domain = claims[0].key[0]
    (rdata,) = claims[0].rrset.rdatas
    text = txt_text(rdata)

    def refuse(rule: str, found: str, wanted: str, remedy: str) -> None:
        others = f" (and {len(claims) - 1} more domains)" if len(claims) > 1 else ""
        zone = claims[0].zone or NOT_OURS
        findings.refusals.append(Refusal(rule, zone, domain, "TXT", found + others, wanted, remedy))

    if len(text) > MAX_TEXT:
        refuse(
            "spf-long",
            f"the SPF record has {len(text)} bytes",
            f"at most {MAX_TEXT}, so that the answer fits in one packet (RFC 7208 section 3.4)",
            "Include fewer third parties.",
        )
    result = checkdmarc.spf.check_spf(domain, nameservers=[server], timeout=TIMEOUT, retries=0)
    # Without an error the counts are there; with one they may be.
    lookups, void = result.get("dns_lookups") or 0, result.get("void_dns_lookups") or 0
    if lookups > MAX_LOOKUPS:
        refuse(
            "spf-lookups",
            f"the SPF record needs {lookups} DNS lookups, receivers stop at {MAX_LOOKUPS} and "
            "then fail all mail of the domain",
            f"at most {MAX_LOOKUPS} lookups (RFC 7208 section 4.6.4)",
            "Include fewer third parties in spf.include, or send for them from a subdomain.",
        )
    if void > MAX_VOID:
        refuse(
            "spf-void",
            f"{void} of the lookups of the SPF record find nothing",
            f"at most {MAX_VOID} (RFC 7208 section 4.6.4)",
            "Take third parties out of spf.include that have no SPF record any more.",
        )
    if not result["valid"] and lookups <= MAX_LOOKUPS and void <= MAX_VOID:
        refuse(
            "spf",
            f"the SPF record would not work: {result.get('error', 'no reason given')}",
            "a record that receivers can evaluate",
            "Correct spf.include of the domain in fleet.yml.",
        )
