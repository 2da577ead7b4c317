"""What holds for every fleet, every world and every sequence of changes to both."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from dns_fleets import (
    COM,
    MTA1,
    MTA2,
    MX1,
    MX2,
    PUBLIC_KEYS,
    ZONES,
    Key,
    World,
    carried_out,
    desired,
    planned,
    records,
    world,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailfleet.dns.changes import Action
from mailfleet.dns.claims import Desired
from mailfleet.dns.draft import Draft, Options
from mailfleet.dns.ledger import EMPTY, Ledger
from mailfleet.dns.plan import Plan, claims_digest
from mailfleet.dns.records import Key as RecordKey
from mailfleet.dns.records import RRset

ALL_ZONES = (*ZONES, "example.org")
ORG = {"name": "example.org", "pools": ["bulk"]}
SUB = {"name": "news.example.com", "pools": ["bulk"]}
LAX = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Records of other people, around ours and like ours; none where ours have to be.
FOREIGN = [
    'example.com 600 TXT "google-site-verification=abc"',
    'example.com 600 TXT "MS=ms1234"',
    'example.com 600 TXT "v=spf10 is no SPF"',
    "example.com 600 A 203.0.113.80",
    'example.com 600 CAA 0 issue "ca.example"',
    "www.example.com 600 CNAME web.example.",
    "*.example.com 600 A 203.0.113.81",
    "mx.example.com 600 A 203.0.113.82",
    "lists.example.com 600 MX 5 lists.example.",
    'other._domainkey.example.com 600 TXT "v=DKIM1; p=abc"',
    '_dmarc.lists.example.com 600 TXT "v=DMARC1; p=none"',
    "mta1.eu.example.net 600 SSHFP 1 1 123456789abcdef67890123456789abcdef67890",
    'mta1.eu.example.net 600 TXT "asset-tag 7"',
    'example.net 600 TXT "another token"',
    '_spf.us.example.net 600 TXT "v=spf1 -all"',
    "200.100.51.198.in-addr.arpa 600 PTR elsewhere.example.",
    # The very values the fleet wants, written by somebody else.
    "mx1.us.example.net 600 A 198.51.100.153",
    "example.org 600 MX 10 mx1.eu.example.net.",
    "example.org 600 MX 100 mx1.us.example.net.",
]


def _zone_of(name: str) -> str:
    return max((z for z in ALL_ZONES if name == z or name.endswith("." + z)), key=len)


def _placed(lines: list[str]) -> dict[str, dict[RecordKey, RRset]]:
    result: dict[str, dict[RecordKey, RRset]] = {}
    for key, rrset in records(*lines).items():
        result.setdefault(_zone_of(key[0]).replace(".", "_"), {})[key] = rrset
    return result


@st.composite
def fleets(draw: st.DrawFn) -> Desired:
    """A fleet: hosts, domains, policies and keys in many combinations."""
    senders = draw(st.sets(st.sampled_from([0, 1]), min_size=1))
    hosts: list[dict[str, Any]] = [[MTA1, MTA2][i] for i in sorted(senders)]
    hosts += [MX1] if draw(st.booleans()) else [{**MX1, "ipv4": "198.51.100.26", "ipv6": None}]
    hosts += [MX2] if draw(st.booleans()) else []
    domains: list[dict[str, Any]] = [COM]
    if draw(st.booleans()):
        domains[0] = {**COM, "spf": {"include": ["third.example"], "all": "-all"}}
    domains += [ORG] if draw(st.booleans()) else []
    domains += [SUB] if draw(st.booleans()) else []
    month = draw(st.sampled_from(["202611", "202612"]))
    public = draw(st.sampled_from(PUBLIC_KEYS))
    keys = {
        host["name"]: (Key(f"{host['name'].split('.')[0]}-eu-{month}", public),)
        for host in hosts
        if host["role"] == "sender" and draw(st.booleans())
    }
    return desired(hosts, domains, ALL_ZONES, keys=keys)


def _values(seen: World) -> set[tuple[str, str, str, str]]:
    return {
        (zone, key[0], key[1].name, text)
        for zone, view in seen.items()
        for key, rrset in view.rrsets.items()
        for text in rrset.texts
    }


def _complete(seen: World, want: Desired, ledger: Ledger) -> World:
    """The world with the zones this fleet needs besides."""
    return {**world(want, ledger), **seen}


ANYTHING = Options(loosen_dmarc=True, allow_deletes=10_000)


@LAX
@given(fleets(), st.sets(st.sampled_from(FOREIGN)))
def test_an_applied_plan_leaves_nothing_to_plan(want: Desired, foreign: set[str]) -> None:
    seen = world(want, **_placed(sorted(foreign)))
    made = planned(want, seen)
    if made.refusals:
        assert {r.rule for r in made.refusals} == {"foreign"}
        return
    after, ledger = carried_out(seen, made, EMPTY)
    again = planned(want, after, ledger)
    assert again.zones == []
    assert again.refusals == []


@LAX
@given(st.lists(fleets(), min_size=1, max_size=6), st.sets(st.sampled_from(FOREIGN)))
def test_no_sequence_of_fleets_touches_what_is_not_ours(
    sequence: list[Desired], foreign: set[str]
) -> None:
    seen = world(sequence[0], **_placed(sorted(foreign)))
    theirs = _values(seen)
    ledger = EMPTY
    accepted = 0
    for want in sequence:
        seen = _complete(seen, want, ledger)
        made = planned(want, seen, ledger, ANYTHING)
        if made.refusals:
            continue
        accepted += 1
        seen, ledger = carried_out(seen, made, ledger)
        assert theirs <= _values(seen)
        for claim in want.claims:
            assert claim.rrset.rdatas <= seen[claim.zone or ""].rrsets[claim.key].rdatas
        assert planned(want, seen, ledger, ANYTHING).zones == []


@LAX
@given(fleets(), fleets(), st.randoms(use_true_random=False))
def test_only_our_own_unchanged_values_are_deleted(
    before: Desired, after: Desired, chance: random.Random
) -> None:
    seen = world(before)
    seen, ledger = carried_out(seen, planned(before, seen), EMPTY)
    seen = _complete(seen, after, ledger)
    # Somebody else changes some of our records.
    stranger = records('x 5 TXT "changed by somebody else"', "x 5 A 203.0.113.66")
    by_type = {rrset.rdtype: rrset for rrset in stranger.values()}
    for zone, view in seen.items():
        rrsets = dict(view.rrsets)
        for key in ledger.of(zone):
            if chance.random() < 0.2 and key[1] in by_type:
                rrsets[key] = replace(by_type[key[1]], name=key[0])
        seen[zone] = replace(view, rrsets=rrsets)
    made = planned(after, seen, ledger, ANYTHING)
    for zone in made.zones:
        for change in zone.changes:
            if change.action is not Action.DELETE:
                continue
            assert change.old is not None
            gone = change.old.rdatas - (change.new.rdatas if change.new else frozenset())
            ours = ledger.of(zone.zone)[change.key].ours
            assert {rdata.to_text() for rdata in gone} <= ours


@LAX
@given(fleets(), st.sets(st.sampled_from(FOREIGN)), st.randoms(use_true_random=False))
def test_a_plan_depends_on_nothing_but_its_inputs(
    want: Desired, foreign: set[str], chance: random.Random
) -> None:
    seen = world(want, **_placed(sorted(foreign)))
    first = planned(want, seen)
    shuffled: World = {}
    for zone in chance.sample(sorted(seen), len(seen)):
        keys = list(seen[zone].rrsets)
        chance.shuffle(keys)
        shuffled[zone] = replace(seen[zone], rrsets={key: seen[zone].rrsets[key] for key in keys})
    second = planned(want, shuffled)
    assert _plan(want, first).sha256 == _plan(want, second).sha256
    assert first.refusals == second.refusals
    text = json.dumps(_plan(want, first).as_json())
    assert Plan.from_json(json.loads(text)) == _plan(want, first)


@LAX
@given(fleets(), fleets())
def test_the_ledger_round_trips(before: Desired, after: Desired) -> None:
    seen = world(before)
    seen, ledger = carried_out(seen, planned(before, seen), EMPTY)
    seen = _complete(seen, after, ledger)
    made = planned(after, seen, ledger, ANYTHING)
    for zone in made.zones:
        ledger = ledger.intending(zone.zone, zone.changes)
    assert Ledger.from_json(json.loads(json.dumps(ledger.as_json()))) == ledger


@LAX
@given(fleets(), fleets(), st.data())
def test_a_run_killed_anywhere_is_simply_run_again(
    before: Desired, after: Desired, data: st.DataObject
) -> None:
    """Killed after some zones were written and before the ledger heard of it."""
    seen = world(before)
    seen, ledger = carried_out(seen, planned(before, seen), EMPTY)
    seen = _complete(seen, after, ledger)
    made = planned(after, seen, ledger, ANYTHING)
    if made.refusals:
        return
    whole, _ = carried_out(seen, made, ledger)
    written = data.draw(st.sets(st.sampled_from([z.zone for z in made.zones] or ["none"])))
    for zone in made.zones:
        ledger = ledger.intending(zone.zone, zone.changes)
    half = {name: whole[name] if name in written else seen[name] for name in seen}
    again = planned(after, half, ledger, ANYTHING)
    assert again.refusals == []
    end, ledger = carried_out(half, again, ledger)
    assert _values(end) == _values(whole)
    assert planned(after, end, ledger, ANYTHING).zones == []
    least = desired([MX1], [], ALL_ZONES)
    nothing = planned(least, _complete(end, least, ledger), ledger, ANYTHING)
    assert {r.rule for r in nothing.refusals} <= {"last-mx", "signing"}


def _plan(want: Desired, made: Draft) -> Plan:
    return Plan("test", claims_digest(want), None, False, tuple(made.zones))
