"""Claims, plans and reports as people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import dns.name
import dns.rdata
import dns.reversename
from dns.rdatatype import RdataType

from mailfleet.dns.changes import Action, Change, ZoneChanges
from mailfleet.dns.claims import Claim, Desired, Kind
from mailfleet.dns.draft import NOT_OURS
from mailfleet.dns.errors import Refused
from mailfleet.dns.plan import Plan
from mailfleet.dns.records import RRset, presentation, sort_key, txt_text
from mailfleet.dns.verify import Difference, Report

_MARKS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.DELETE: "-",
    Action.ADOPT: "~",
    Action.RELEASE: "=",
}
_PUBLIC_KEY = re.compile(r"p=([A-Za-z0-9+/]{16})[A-Za-z0-9+/]{32,}([A-Za-z0-9+/]{14}=*)")
NO_ACCOUNT = "no zone of the fleet"


def plan_text(plan: Plan) -> str:
    """A plan by zone: what, from which value to which, and why."""
    lines: list[str] = []
    if plan.offline:
        lines += ["Offline: planned as if every zone were empty; no server was asked.", ""]
    for zone in plan.zones:
        lines += [*_zone_lines(zone), ""]
    lines += [f"Waiting for the key of {host}: deploy it first." for host in plan.waiting]
    lines += [f"Note: {note}" for note in plan.notes]
    if not plan.zones:
        return "\n".join(["No changes.", *lines]).rstrip()
    return "\n".join([*lines, summary(plan)])


def summary(plan: Plan) -> str:
    """One line: how many of what, and the digest."""
    counts = [
        f"{number} to {action}"
        for action in Action
        if (number := sum(change.action is action for change in plan.changes))
    ]
    if plan.by_hand:
        counts.append(f"{len(plan.by_hand)} to enter by hand")
    return f"{', '.join(counts)}. Plan {plan.sha256[:12]}."


def refused_text(error: Refused) -> str:
    """Every refusal with its way out."""
    number = len(error.refusals)
    lines = [f"Nothing is planned: {number} reason{'' if number == 1 else 's'}.", ""]
    for refusal in error.refusals:
        where = " ".join(part for part in (refusal.name, refusal.rdtype) if part)
        lines += [
            f"✗ {where}: {refusal.found}" if where else f"✗ {refusal.found}",
            f"    {refusal.wanted}",
            f"    {refusal.remedy}",
        ]
    return "\n".join(lines)


def claims_text(desired: Desired, claims: Iterable[Claim]) -> str:
    """What should be, grouped by the host or domain it is for."""
    lines: list[str] = []
    subject = ""
    for claim in claims:
        if claim.subject != subject:
            subject = claim.subject
            lines += ["", subject] if lines else [subject]
        name, rdtype = claim.key
        zone = claim.zone or NO_ACCOUNT
        lines.append(f"  {name} {RdataType.to_text(rdtype)}   ({zone})")
        lines += [f"      {_readable(rdata)}" for rdata in sorted(claim.rrset.rdatas)]
        lines.append(f"      why: {claim.why}")
    waiting = [f"Waiting for the key of {host}: deploy it first." for host in desired.waiting]
    return "\n".join([*lines, *(["", *waiting] if waiting else [])])


def zone_file(claims: Iterable[Claim]) -> str:
    """The claims in zone file format (RFC 1035 section 5), one part a zone."""
    zones: dict[str, list[Claim]] = {}
    for claim in claims:
        zones.setdefault(claim.zone or NOT_OURS, []).append(claim)
    lines: list[str] = []
    for zone in sorted(zones, key=lambda name: (name == NOT_OURS, name)):
        lines.append(f"; zone {zone}" if zone else f"; {NO_ACCOUNT}: enter these by hand")
        for claim in sorted(zones[zone], key=lambda claim: sort_key(claim.key)):
            lines.append(f"; {claim.why}")
            lines += record_lines(claim.rrset)
        lines.append("")
    return "\n".join(lines).rstrip()


def record_lines(rrset: RRset) -> Iterator[str]:
    """An RRset as zone file lines, names absolute."""
    ttl = "" if rrset.ttl is None else f" {rrset.ttl}"
    for value in rrset.texts:
        yield f"{rrset.name}.{ttl} IN {RdataType.to_text(rrset.rdtype)} {value}"


def report_text(report: Report) -> str:
    """Applied, published, agreed and reverse, each with what is wrong."""
    lines = [
        *_part("applied", report.applied, f"{report.claims} RRsets are as the fleet wants them"),
        *_part("published", report.published, "every one is answered by an authoritative server"),
        *_part(
            "agreed",
            report.agreed,
            f"{len(report.servers)} authoritative addresses give the same answers: "
            + ", ".join(report.servers),
        ),
        *_part(
            "reverse",
            report.reverse,
            f"{report.addresses} addresses have forward-confirmed reverse DNS",
        ),
    ]
    lines += [f"not asked  {reason}" for reason in report.not_asked]
    lines += [f"waiting    for the key of {host}: deploy it first" for host in report.waiting]
    verdict = "Verified" if report.ok else "Not verified"
    return "\n".join([*lines, f"{verdict} in {report.seconds:g} s."])


def _part(name: str, differences: tuple[Difference, ...] | None, fine: str) -> list[str]:
    if differences is None:
        return [f"{name:<10} not looked at"]
    if not differences:
        return [f"{name:<10} ok: {fine}"]
    lines = [f"{name:<10} {len(differences)} wrong:"]
    for difference in differences:
        lines += [
            f"  ✗ {difference.record} at {difference.where}",
            f"      wanted: {difference.wanted}",
            f"      {difference.found}",
        ]
    return lines


def _zone_lines(zone: ZoneChanges) -> Iterator[str]:
    if zone.by_hand:
        title = f"{zone.zone} (account {zone.account})" if zone.zone else NO_ACCOUNT
        yield f"{title}: enter this by hand at the provider, then `mailfleet dns verify`"
    else:
        yield f"{zone.zone} (account {zone.account})"
    for change in zone.changes:
        yield from (_by_hand(change) if zone.by_hand else _change(change))


def _change(change: Change) -> Iterator[str]:
    name, rdtype = change.key
    old = change.old.rdatas if change.old else frozenset()
    new = change.new.rdatas if change.new else frozenset()
    ttls = [rrset.ttl for rrset in (change.old, change.new) if rrset and rrset.ttl is not None]
    ttl = " -> ".join(str(ttl) for ttl in dict.fromkeys(ttls))
    note = {
        Action.ADOPT: "  adopted: ours from now on",
        Action.RELEASE: "  released: not ours any more",
    }.get(change.action, "")
    yield f"  {_MARKS[change.action]} {name} {RdataType.to_text(rdtype)} {ttl}{note}".rstrip()
    yield from (f"      - {_readable(rdata)}" for rdata in sorted(old - new))
    yield from (f"      + {_readable(rdata)}" for rdata in sorted(new - old))
    if old & new and change.writes:
        ours = set(change.owned)
        theirs = sum(presentation(rdata) not in ours for rdata in old & new)
        if theirs:
            yield f"        (keeps {theirs} value{'' if theirs == 1 else 's'} of others)"
    yield f"      why: {change.why}"


def _readable(rdata: dns.rdata.Rdata) -> str:
    """A value for reading: a text in one piece, the middle of a public key left out."""
    if rdata.rdtype is not RdataType.TXT:
        return presentation(rdata)
    text = _PUBLIC_KEY.sub(r"p=\1…\2", txt_text(rdata))
    return f'"{text}"'


def _by_hand(change: Change) -> Iterator[str]:
    if change.key[1] is RdataType.PTR and change.kind == Kind.PTR and change.new:
        address = dns.reversename.to_address(dns.name.from_text(f"{change.key[0]}."))
        found = f" (now {', '.join(change.old.texts)})" if change.old else ""
        yield f"  reverse DNS of {address}: {change.new.texts[0].rstrip('.')}{found}"
    else:
        old = set(record_lines(change.old)) if change.old else set()
        new = set(record_lines(change.new)) if change.new else set()
        yield from (f"  remove  {line}" for line in sorted(old - new))
        yield from (f"  enter   {line}" for line in sorted(new - old))
    yield f"      why: {change.why}"
