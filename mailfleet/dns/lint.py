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

MAX_TEXT = 512  # RFC 7208 section 3.4
MAX_CHAIN = 8  # CNAMEs, as resolvers follow them
TIMEOUT = 5.0  # seconds

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
        response = dns.message.make_response(request)
        response.flags |= dns.flags.AA | dns.flags.RA
        name: str | None = canonical_name(question.name)
        for _ in range(MAX_CHAIN):
            if name is None:
                break
            name = self._add(response, name, question.rdtype)
        return dns.message.from_wire(response.to_wire())

    def _add(self, response: dns.message.Message, name: str, rdtype: RdataType) -> str | None:
        """Answer for one name; the target when it is a CNAME."""
        zone = longest_zone(name, self._zones)
        if zone is not None:
            rrsets = self._zones[zone]
            found = rrsets.get((name, rdtype))
            if found is None and (alias := rrsets.get((name, RdataType.CNAME))) is not None:
                _append(response, alias)
                return canonical_name(alias.texts[0])
            if found is not None:
                _append(response, found)
                return None
            if zone in self._whole:
                if not any(known == name or known.endswith("." + name) for known, _ in rrsets):
                    response.set_rcode(dns.rcode.NXDOMAIN)
                return None
        answer = self._ask(dns.message.make_query(f"{name}.", rdtype))
        if answer is not None:
            response.set_rcode(answer.rcode())
            response.answer += answer.answer
        else:
            # Unknown is not wrong: stand in with a record that costs one lookup, and say so.
            self.unanswered.add(name)
            if rdtype == RdataType.TXT:
                _append(response, RRset(name, rdtype, 0, frozenset([_STAND_IN])))
        return None


_STAND_IN = parse(RdataType.TXT, '"v=spf1 ?all"')


def _append(response: dns.message.Message, rrset: RRset) -> None:
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
    asked = {"nameservers": [server], "timeout": TIMEOUT, "retries": 0}
    try:
        record = checkdmarc.spf.query_spf_record(domain, **asked)["record"]
        checkdmarc.spf.parse_spf_record(record, domain, **asked)
    except checkdmarc.spf.SPFTooManyDNSLookups as error:
        refuse(
            "spf-lookups",
            f"the SPF record needs {error.data['dns_lookups']} DNS lookups or more; receivers "
            "stop at 10 and then fail all mail of the domain",
            "at most 10 lookups (RFC 7208 section 4.6.4)",
            "Include fewer third parties in spf.include, or send for them from a subdomain.",
        )
    except checkdmarc.spf.SPFTooManyVoidDNSLookups as error:
        refuse(
            "spf-void",
            f"{error.data['void_dns_lookups']} lookups of the SPF record or more find nothing",
            "at most 2 (RFC 7208 section 4.6.4)",
            "Take third parties out of spf.include whose SPF record names hosts that are gone.",
        )
    except checkdmarc.spf.SPFError as error:
        refuse(
            "spf",
            f"the SPF record would not work: {error.args[0]}",
            "a record that receivers can evaluate",
            "Correct spf.include of the domain in fleet.yml.",
        )
