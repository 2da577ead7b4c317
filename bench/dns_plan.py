"""How long planning takes, without any I/O: 2,000 zones of 20 names.

    python bench/dns_plan.py [ZONES] [NAMES]

Prints the seconds of each step (elapsed, and of the processor) and the memory of the whole: for a
fleet that is new, for one that is unchanged, and for one whose SPF records all changed.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from dns.rdatatype import RdataType

from mailfleet.dns.changes import applied
from mailfleet.dns.claims import Claim, Desired, Kind
from mailfleet.dns.draft import Draft, Options, draft
from mailfleet.dns.ledger import EMPTY, Ledger
from mailfleet.dns.plan import Plan, claims_digest
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key, RRset, parse, rrset, txt

T = TypeVar("T")


def main() -> None:
    zones, names = (int(word) for word in (*sys.argv[1:], "2000", "20")[:2])
    print(f"{zones} zones of {names} names, beside 5 foreign RRsets in each")
    print(f"{'':<50} {'elapsed':>10} {'processor':>10}")
    desired = timed("claims", lambda: claims(zones, names))
    world = timed("the world (as a provider would hand it over)", lambda: empty(desired))
    new = timed("plan of a new fleet", lambda: planned(desired, world, EMPTY))
    changes = sum(len(zone.changes) for zone in new.zones)
    timed(f"  its JSON and sha256 ({changes} changes)", lambda: as_plan(desired, new).sha256)
    after, ledger = carried_out(world, new)
    same = timed("plan of an unchanged fleet", lambda: planned(desired, after, ledger))
    timed("  its JSON and sha256", lambda: as_plan(desired, same).sha256)
    if same.zones:
        raise SystemExit("an applied plan left something to plan")
    other = replace(desired, claims=tuple(changed(claim) for claim in desired.claims))
    some = timed("plan after every SPF record changed", lambda: planned(other, after, ledger))
    if sum(len(zone.changes) for zone in some.zones) != zones:
        raise SystemExit("one change a zone was expected")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'peak memory of all of this':<50} {peak:8.0f} MB")


def timed(what: str, work: Callable[[], T]) -> T:
    gc.collect()
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{what:<50} {wall:8.2f} s {cpu:8.2f} s")
    return result


def claims(zones: int, names: int) -> Desired:
    """Per zone: MX, SPF in a shared TXT, DMARC, and DKIM selectors for the rest."""
    key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + "x" * 340 + "IDAQAB"
    result = []
    for number in range(zones):
        zone = f"customer{number}.example"
        mx = frozenset(parse(RdataType.MX, f"{p} mx{p}.example.net.") for p in (10, 20, 100))
        result.append(claim(zone, RRset(zone, RdataType.MX, 3600, mx), Kind.MX))
        spf = frozenset([txt("v=spf1 include:_spf.example.net ~all")])
        shared = RRset(zone, RdataType.TXT, 3600, spf)
        result.append(replace(claim(zone, shared, Kind.SPF), slot="v=spf1"))
        dmarc = frozenset([txt(f"v=DMARC1; p=reject; rua=mailto:dmarc@{zone}")])
        owner = f"_dmarc.{zone}"
        result.append(claim(zone, RRset(owner, RdataType.TXT, 3600, dmarc), Kind.DMARC))
        for sender in range(names - 3):
            owner = f"mta{sender}-eu-202611._domainkey.{zone}"
            text = frozenset([txt(f"v=DKIM1; k=rsa; p={sender}{key}")])
            result.append(claim(zone, RRset(owner, RdataType.TXT, 3600, text), Kind.DKIM))
    return Desired(tuple(result), {c.zone: "primary" for c in result if c.zone})


def claim(zone: str, rrset: RRset, kind: Kind) -> Claim:
    return Claim(zone, rrset, kind, zone, "for the benchmark")


def changed(claim: Claim) -> Claim:
    if claim.kind is not Kind.SPF:
        return claim
    texts = frozenset([txt("v=spf1 include:_spf.example.net include:third.example ~all")])
    return replace(claim, rrset=replace(claim.rrset, rdatas=texts))


def empty(desired: Desired) -> dict[str, ZoneView]:
    """Zones with an apex and a few records of others."""
    result = {}
    for zone in desired.zones:
        rrsets: dict[Key, RRset] = {}
        for foreign in (
            rrset(zone, RdataType.SOA, 60, [f"ns1.{zone}. h.{zone}. 1 1 1 1 1"]),
            rrset(zone, RdataType.NS, 60, [f"ns1.{zone}.", f"ns2.{zone}."]),
            rrset(zone, RdataType.TXT, 60, ['"google-site-verification=abc"']),
            rrset(f"www.{zone}", RdataType.A, 60, ["203.0.113.1"]),
            rrset(f"shop.{zone}", RdataType.CNAME, 60, [f"www.{zone}."]),
        ):
            rrsets[foreign.key] = foreign
        result[zone] = ZoneView(zone, "primary", Capabilities(), rrsets)
    return result


def planned(desired: Desired, world: dict[str, ZoneView], ledger: Ledger) -> Draft:
    made = draft(desired, world, ledger, Options())
    if made.refusals:
        raise SystemExit(str(made.refusals[0]))
    return made


def as_plan(desired: Desired, made: Draft) -> Plan:
    return Plan("bench", claims_digest(desired), None, False, tuple(made.zones))


def carried_out(world: dict[str, ZoneView], made: Draft) -> tuple[dict[str, ZoneView], Ledger]:
    """The world and the ledger after the plan; the RRsets made anew, as a later read gives them."""
    changes = {zone.zone: zone.changes for zone in made.zones}
    after, ledger = {}, {}
    for zone, view in world.items():
        rrsets = {
            key: RRset.from_json(*key, found.as_json())
            for key, found in applied(view.rrsets, changes[zone]).items()
        }
        after[zone] = replace(view, rrsets=rrsets)
        ledger[zone] = EMPTY.settled(zone, changes[zone], None).of(zone)
    return after, Ledger(ledger)


if __name__ == "__main__":
    main()
