"""Plans from examples: what changes, what is refused, and the way out of each refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from dns.rdatatype import RdataType
from dns_fleets import (
    COM,
    MTA1,
    MTA2,
    MX1,
    MX2,
    PUBLIC_KEYS,
    Key,
    carried_out,
    desired,
    planned,
    records,
    world,
)

from mailfleet.dns.changes import Action, Change
from mailfleet.dns.claims import HOST_KINDS
from mailfleet.dns.draft import Draft, Options
from mailfleet.dns.errors import PlanFileError
from mailfleet.dns.ledger import EMPTY, Ledger
from mailfleet.dns.plan import Plan, claims_digest
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key as RecordKey
from mailfleet.dns.records import key_from_text

ORG = {"name": "example.org", "pools": ["bulk"], "dmarc": {"policy": "reject"}}


def _all(made: Draft) -> dict[str, Change]:
    return {f"{c.key[0]}/{c.key[1].name}": c for zone in made.zones for c in zone.changes}


def _rules(made: Draft) -> list[str]:
    return [refusal.rule for refusal in made.refusals]


def _settled(want: object = None, **others: object) -> tuple[dict[str, ZoneView], Ledger]:
    """A world in which the default fleet was applied."""
    claims = desired() if want is None else want
    seen = world(claims, **others)  # type: ignore[arg-type]
    return carried_out(seen, planned(claims, seen), EMPTY)  # type: ignore[arg-type]


def _key(text: str) -> RecordKey:
    return key_from_text(text)


def test_an_empty_world_gets_everything() -> None:
    made = planned(desired(), world(desired()))
    assert made.refusals == []
    assert len(_all(made)) == len(desired().claims)
    assert {change.action for change in _all(made).values()} == {Action.CREATE}


def test_the_second_plan_is_empty() -> None:
    seen, ledger = _settled()
    assert planned(desired(), seen, ledger).zones == []


def test_a_new_sender_touches_its_records_and_spf_in_one_zone() -> None:
    seen, ledger = _settled()
    more = desired([MTA1, MTA2, MX1, MX2])
    made = planned(more, seen, ledger)
    assert set(_all(made)) == {
        "_spf.example.net/TXT",
        "mta2.eu.example.net/A",
        "mta2.eu.example.net/TXT",
        "11.100.51.198.in-addr.arpa/PTR",
    }
    change = _all(made)["_spf.example.net/TXT"]
    assert change.action is Action.UPDATE
    assert change.old is not None
    assert change.new is not None
    assert "198.51.100.11" in change.new.texts[0]
    assert "198.51.100.11" not in change.old.texts[0]


def test_verification_tokens_beside_spf_stay_with_their_ttl() -> None:
    tokens = records('example.com 77 TXT "google-site-verification=x"', 'example.com 77 TXT "MS=1"')
    made = planned(desired(), world(desired(), example_com=tokens))
    change = _all(made)["example.com/TXT"]
    assert change.action is Action.UPDATE
    assert change.new is not None
    assert change.new.ttl == 77
    assert set(change.new.texts) == {
        '"google-site-verification=x"',
        '"MS=1"',
        '"v=spf1 include:_spf.example.net ~all"',
    }


@pytest.mark.parametrize(
    "line",
    [
        'example.com 600 TXT "v=spf1 include:_spf.google.com ~all"',
        'example.com 600 TXT "V=SPF1 -all"',
        "example.com 600 MX 5 mail.old.example.",
        'mta1-eu-202611._domainkey.example.com 600 TXT "v=DKIM1; p=abc"',
        'mx1.eu.example.net 600 TXT "v=spf1 -all"',
        "mta1.eu.example.net 600 A 203.0.113.9",
        "10.100.51.198.in-addr.arpa 600 PTR static.isp.example.",
    ],
)
def test_a_foreign_value_in_our_place_is_refused_until_adopted(line: str) -> None:
    foreign = records(line)
    (key,) = foreign
    zone = next(z for z in sorted(world(desired())) if z and key[0].endswith(z))
    seen = world(desired(), **{zone.replace(".", "_"): foreign})
    made = planned(desired(), seen)
    (refusal,) = made.refusals
    assert refusal.rule == "foreign"
    text = f"{key[0]}/{key[1].name}"
    assert f"--adopt {text}" in refusal.remedy
    assert foreign[key].texts[0] in refusal.found
    adopted = planned(desired(), seen, options=Options(adopt=frozenset([key])))
    assert adopted.refusals == []
    assert _all(adopted)[text].action is Action.ADOPT
    after, ledger = carried_out(seen, adopted, EMPTY)
    assert planned(desired(), after, ledger).zones == []


def test_v_spf10_is_not_spf() -> None:
    seen = world(desired(), example_com=records('example.com 600 TXT "v=spf10 is no SPF"'))
    assert planned(desired(), seen).refusals == []


def test_what_somebody_else_wrote_alike_is_neither_changed_nor_ever_deleted() -> None:
    alike = records("mx1.us.example.net 42 A 198.51.100.153")
    seen = world(desired(), example_net=alike)
    made = planned(desired(), seen)
    assert "mx1.us.example.net/A" not in _all(made)
    after, ledger = carried_out(seen, made, EMPTY)
    without = desired([MTA1, MX1])
    gone = planned(without, after, ledger)
    assert "mx1.us.example.net/A" not in _all(gone)
    assert "mx1.us.example.net/TXT" in _all(gone)


def test_adopting_what_is_alike_makes_it_ours() -> None:
    alike = records("mx1.us.example.net 42 A 198.51.100.153")
    seen = world(desired(), example_net=alike)
    options = Options(adopt=frozenset([_key("mx1.us.example.net/A")]), allow_deletes=99)
    made = planned(desired(), seen, options=options)
    assert _all(made)["mx1.us.example.net/A"].action is Action.ADOPT
    after, ledger = carried_out(seen, made, EMPTY)
    assert planned(desired(), after, ledger, options).zones == []
    assert "mx1.us.example.net/A" in _all(planned(desired([MTA1, MX1]), after, ledger))


def test_a_removed_host_takes_its_records_along() -> None:
    seen, ledger = _settled(desired([MTA1, MTA2, MX1, MX2]))
    made = planned(desired(), seen, ledger)
    deleted = {name for name, change in _all(made).items() if change.action is Action.DELETE}
    assert deleted == {
        "mta2.eu.example.net/A",
        "mta2.eu.example.net/TXT",
        "11.100.51.198.in-addr.arpa/PTR",
    }


def test_what_was_changed_since_we_wrote_it_is_left_alone() -> None:
    seen, ledger = _settled(desired([MTA1, MTA2, MX1, MX2]))
    view = seen["example.net"]
    theirs = records("mta2.eu.example.net 600 A 203.0.113.9")
    seen["example.net"] = replace(view, rrsets={**view.rrsets, **theirs})
    made = planned(desired(), seen, ledger)
    assert "mta2.eu.example.net/A" not in _all(made)


def test_a_value_added_beside_ours_survives_the_deletion_of_ours() -> None:
    seen, ledger = _settled(desired([MTA1, MTA2, MX1, MX2]))
    view = seen["example.net"]
    both = records(
        "mta2.eu.example.net 600 A 203.0.113.9", "mta2.eu.example.net 600 A 198.51.100.11"
    )
    seen["example.net"] = replace(view, rrsets={**view.rrsets, **both})
    change = _all(planned(desired(), seen, ledger))["mta2.eu.example.net/A"]
    assert change.action is Action.DELETE
    assert change.new is not None
    assert change.new.texts == ("203.0.113.9",)


def test_too_many_deletions_are_refused_even_in_a_small_fleet() -> None:
    seen, ledger = _settled(desired([MTA1, MTA2, MX1, MX2]))
    options = Options(allow_deletes=2)
    made = planned(desired(), seen, ledger, options)
    assert _rules(made) == ["deletes"]
    assert "3 deletions, 2 are allowed" in made.refusals[0].found
    assert "--allow-deletes 3" in made.refusals[0].remedy
    assert planned(desired(), seen, ledger, Options(allow_deletes=3)).refusals == []


def test_the_last_mx_is_never_deleted_but_can_be_released() -> None:
    zones = [*world(desired()), "example.org"]
    both = desired(domains=[COM, ORG], zones=zones)
    seen, ledger = _settled(both)
    one = desired(zones=zones)
    made = planned(one, seen, ledger, Options(loosen_dmarc=True, allow_deletes=99))
    assert "last-mx" in _rules(made)
    release = frozenset([_key("example.org/MX"), _key("mta1-eu-202611._domainkey.example.org/TXT")])
    released = planned(one, seen, ledger, Options(frozenset(), release, True, 99))
    assert released.refusals == []
    after, ledger = carried_out(seen, released, ledger)
    assert ("example.org", RdataType.MX) in after["example.org"].rrsets
    assert planned(one, after, ledger).zones == []


def test_a_selector_that_a_host_signs_with_is_never_deleted() -> None:
    seen, ledger = _settled()
    made = planned(desired(domains=[{**COM, "pools": []}]), seen, ledger)
    assert _rules(made) == ["signing"]


def test_a_key_that_nobody_signs_with_goes() -> None:
    seen, ledger = _settled()
    keys = {"mta1.eu.example.net": (Key("mta1-eu-202612"),)}
    made = planned(desired(keys=keys), seen, ledger)
    assert made.refusals == []
    assert {name: c.action for name, c in _all(made).items()} == {
        "mta1-eu-202611._domainkey.example.com/TXT": Action.DELETE,
        "mta1-eu-202612._domainkey.example.com/TXT": Action.CREATE,
    }


def test_while_a_key_is_waited_for_the_published_one_stays() -> None:
    seen, ledger = _settled()
    want = desired(keys={})
    assert want.waiting == ("mta1.eu.example.net",)
    assert planned(want, seen, ledger).zones == []


def test_a_key_made_anew_under_the_same_selector_is_updated() -> None:
    seen, ledger = _settled()
    keys = {"mta1.eu.example.net": (Key("mta1-eu-202611", PUBLIC_KEYS[1]),)}
    made = planned(desired(keys=keys), seen, ledger)
    assert made.refusals == []
    assert [c.action for c in _all(made).values()] == [Action.UPDATE]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ({"policy": "reject"}, {"policy": "quarantine"}, True),
        ({"policy": "quarantine"}, {"policy": "none"}, True),
        ({"policy": "reject"}, {"policy": "reject", "subdomain_policy": "none"}, True),
        ({"policy": "none"}, {"policy": "reject"}, False),
        ({"policy": "reject"}, {"policy": "reject", "rua": ["a@example.com"]}, False),
        ({"policy": "none", "subdomain_policy": "reject"}, {"policy": "none"}, True),
    ],
)
def test_dmarc_is_not_loosened_by_accident(
    before: dict[str, object], after: dict[str, object], refused: bool
) -> None:
    seen, ledger = _settled(desired(domains=[{**COM, "dmarc": before}]))
    want = desired(domains=[{**COM, "dmarc": after}])
    made = planned(want, seen, ledger)
    assert _rules(made) == (["loosen-dmarc"] if refused else [])
    assert planned(want, seen, ledger, Options(loosen_dmarc=True)).refusals == []


def test_a_stricter_foreign_dmarc_is_not_loosened_by_adopting_it() -> None:
    foreign = records('_dmarc.example.com 600 TXT "v=DMARC1; p=reject; pct=100"')
    seen = world(desired(), example_com=foreign)
    options = Options(adopt=frozenset([_key("_dmarc.example.com/TXT")]))
    assert _rules(planned(desired(), seen, options=options)) == ["loosen-dmarc"]


def test_a_cname_in_the_way() -> None:
    seen = world(desired(), example_com=records("_dmarc.example.com 600 CNAME x.example."))
    made = planned(desired(), seen)
    assert _rules(made) == ["cname"]
    assert "x.example." in made.refusals[0].found


def test_a_delegation_in_the_way() -> None:
    seen = world(desired(), example_net=records("eu.example.net 600 NS ns1.elsewhere.example."))
    made = planned(desired(), seen)
    assert set(_rules(made)) == {"delegation"}
    assert "eu.example.net" in made.refusals[0].remedy


def test_apex_ns_and_soa_are_never_written_whatever_the_ledger_says() -> None:
    seen, ledger = _settled()
    ns = ("example.com", RdataType.NS)
    entries = dict(ledger.of("example.com"))
    entries[ns] = replace(next(iter(entries.values())), values=frozenset(["ns1.example.com."]))
    made = planned(desired(), seen, Ledger({**ledger.zones, "example.com": entries}))
    assert _rules(made) == ["apex"]


def test_everything_unsafe_is_listed_at_once() -> None:
    seen = world(
        desired(),
        example_com=records(
            "example.com 600 MX 5 old.example.",
            '_dmarc.example.com 600 TXT "v=DMARC1; p=none"',
            "mta1-eu-202611._domainkey.example.com 600 CNAME x.example.",
        ),
    )
    assert sorted(_rules(planned(desired(), seen))) == ["cname", "foreign", "foreign"]


def test_a_ttl_changes_where_the_record_is_ours_and_alone() -> None:
    tokens = records('example.com 77 TXT "token"')
    seen, ledger = _settled(example_com=tokens)
    claims = tuple(replace(c, rrset=replace(c.rrset, ttl=300)) for c in desired().claims)
    made = planned(replace(desired(), claims=claims), seen, ledger)
    assert made.refusals == []
    assert "example.com/TXT" not in _all(made)
    assert all(c.new is not None and c.new.ttl == 300 for c in _all(made).values())
    assert len(_all(made)) == len(claims) - 1


def test_a_provider_with_ttl_limits_settles() -> None:
    limits = Capabilities(ttl_min=60, ttl_max=1800)
    seen = {name: replace(view, capabilities=limits) for name, view in world(desired()).items()}
    made = planned(desired(), seen)
    assert {c.new.ttl for c in _all(made).values() if c.new} == {1800}
    after, ledger = carried_out(seen, made, EMPTY)
    assert planned(desired(), after, ledger).zones == []


def test_addresses_only_deletes_nothing_of_the_rest() -> None:
    seen, ledger = _settled()
    only = replace(
        desired(),
        kinds=HOST_KINDS,
        claims=tuple(c for c in desired().claims if c.kind in HOST_KINDS),
    )
    assert planned(only, seen, ledger).zones == []


def test_reverse_zones_that_are_not_ours_are_shown_and_never_written() -> None:
    want = desired(zones=["example.net", "example.com"])
    made = planned(want, world(want))
    (by_hand,) = [zone for zone in made.zones if zone.by_hand]
    assert {change.key[1] for change in by_hand.changes} == {RdataType.PTR}
    _, ledger = carried_out(world(want), made, EMPTY)
    assert set(ledger.zones) == {"example.net", "example.com"}


def test_a_wrong_ptr_by_hand_is_not_refused_but_shown() -> None:
    want = desired(zones=["example.net", "example.com"])
    ptr = records("10.100.51.198.in-addr.arpa 99 PTR static.isp.example.")
    seen = world(want)
    seen[""] = replace(seen[""], rrsets=ptr)
    made = planned(want, seen)
    assert made.refusals == []
    change = _all(made)["10.100.51.198.in-addr.arpa/PTR"]
    assert change.old == ptr["10.100.51.198.in-addr.arpa", RdataType.PTR]


def test_a_zone_taken_out_of_the_fleet_is_left_and_noted() -> None:
    seen, ledger = _settled()
    entries = {"gone.example": ledger.of("example.com")}
    made = planned(desired(), seen, Ledger({**ledger.zones, **entries}))
    assert made.zones == []
    assert "gone.example" in made.notes[0]


@pytest.mark.parametrize("option", ["adopt", "release"])
def test_options_that_name_nothing_are_refused(option: str) -> None:
    keys = frozenset([_key("nobody.example.com/A")])
    options = Options(**{option: keys})  # type: ignore[arg-type]
    assert _rules(planned(desired(), world(desired()), options=options)) == ["usage"]


def test_two_claims_for_one_name_are_refused() -> None:
    twice = {**MTA2, "ipv4": MTA1["ipv4"]}
    assert "conflict" in _rules(planned(desired([MTA1, twice, MX1]), world(desired())))


def test_addresses_come_before_what_points_at_them_and_deletions_last() -> None:
    seen, ledger = _settled(desired([MTA1, MTA2, MX1]))
    made = planned(desired([MTA1, MX1, MX2]), seen, ledger)
    (net,) = [zone for zone in made.zones if zone.zone == "example.net"]
    actions = [(c.action, c.key[1].name) for c in net.changes]
    assert actions[0] == (Action.CREATE, "A")
    assert [a for a, _ in actions][-2:] == [Action.DELETE, Action.DELETE]


def _plan(made: Draft) -> Plan:
    want = desired()
    return Plan("test", claims_digest(want), None, False, tuple(made.zones), notes=("a note",))


def test_a_plan_round_trips_and_notices_a_changed_byte() -> None:
    made = _plan(planned(desired(), world(desired())))
    text = json.dumps(made.as_json())
    assert Plan.from_json(json.loads(text)) == made
    with pytest.raises(PlanFileError, match="changed after it was made"):
        Plan.from_json(json.loads(text.replace("198.51.100.10", "198.51.100.66")))


@pytest.mark.parametrize("value", [{}, {"version": 99}, [], "x", {"version": 1, "zones": 3}])
def test_what_is_no_plan_is_refused(value: object) -> None:
    with pytest.raises(PlanFileError, match="mailfleet dns plan"):
        Plan.from_json(value)  # type: ignore[arg-type]
