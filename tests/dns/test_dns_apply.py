"""Applying a plan: exactly it, once, and again after anything that went wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dns.rdatatype import RdataType
from dns_fleets import COM, MTA1, MTA2, MX1, MX2, apex, desired, planned, records
from dns_memory import Killed, Memory, conflict, kill, refused, unknown

from mailfleet.dns import ledger as ledgers
from mailfleet.dns.apply import Applied, apply
from mailfleet.dns.claims import Desired
from mailfleet.dns.draft import Options
from mailfleet.dns.errors import LedgerError, Moved, PlanFileError, ProviderError
from mailfleet.dns.observe import Providers, read, wanted
from mailfleet.dns.plan import Plan, claims_digest
from mailfleet.dns.records import Key, RRset

FOREIGN = records('example.com 600 TXT "token"', "www.example.com 600 A 203.0.113.80")


@pytest.fixture
def memory() -> Memory:
    zones = {zone: apex(zone) for zone in sorted(wanted(desired(), ledgers.EMPTY))}
    zones["example.com"].update(FOREIGN)
    return Memory(zones)


def _sources(memory: Memory) -> Providers:
    return Providers(dict.fromkeys(memory.zones, memory))


def _plan(memory: Memory, directory: Path, want: Desired | None = None) -> Plan:
    want = want or desired()
    ledger = ledgers.read(directory)
    seen = read(_sources(memory), wanted(want, ledger))
    made = planned(want, dict(seen), ledger, Options(allow_deletes=999))
    assert made.refusals == []
    return Plan("test", claims_digest(want), None, False, tuple(made.zones))


def _apply(memory: Memory, plan: Plan, directory: Path) -> Applied:
    return apply(plan, _sources(memory), directory, lambda line: None)


def _holds(memory: Memory, want: Desired | None = None) -> None:
    """Everything claimed is there, once, and everything foreign still is."""
    expected: dict[str, dict[Key, RRset]] = {zone: dict(apex(zone)) for zone in memory.zones}
    expected["example.com"].update(FOREIGN)
    for claim in (want or desired()).claims:
        zone = expected[claim.zone or ""]
        there = zone.get(claim.key)
        rdatas = claim.rrset.rdatas | (there.rdatas if there else frozenset())
        ttl = there.ttl if there else claim.rrset.ttl
        zone[claim.key] = RRset(*claim.key, ttl, rdatas)
    assert memory.zones == expected


def test_the_plan_is_carried_out_and_noted(memory: Memory, tmp_path: Path) -> None:
    result = _apply(memory, _plan(memory, tmp_path), tmp_path)
    assert result.ok
    assert sum(result.written.values()) == len(desired().claims)
    _holds(memory)
    ledger = ledgers.read(tmp_path)
    assert {key for entries in ledger.zones.values() for key in entries} == {
        claim.key for claim in desired().claims
    }
    assert ledger.of("example.com")["example.com", RdataType.TXT].values == {
        '"v=spf1 include:_spf.example.net ~all"'
    }
    assert _plan(memory, tmp_path).zones == ()


def test_the_same_plan_again_changes_nothing(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    _apply(memory, plan, tmp_path)
    memory.calls.clear()
    result = _apply(memory, plan, tmp_path)
    assert result.written == {}
    assert result.already == len(desired().claims)
    assert not [call for call in memory.calls if call.startswith("write")]


def test_one_write_a_zone(memory: Memory, tmp_path: Path) -> None:
    _apply(memory, _plan(memory, tmp_path), tmp_path)
    writes = [call for call in memory.calls if call.startswith("write")]
    assert len(writes) == len(set(writes)) == 4


@pytest.mark.parametrize(
    "line",
    [
        "mta1.eu.example.net 60 A 203.0.113.1",
        'example.com 600 TXT "another token"',
        "example.com 60 MX 5 mail.other.example.",
    ],
)
def test_a_world_that_moved_stops_everything_and_is_named(
    memory: Memory, tmp_path: Path, line: str
) -> None:
    plan = _plan(memory, tmp_path)
    (key, rrset), *_ = records(line).items()
    zone = "example.net" if key[0].endswith("example.net") else "example.com"
    memory.zones[zone][key] = rrset
    before = {name: dict(rrsets) for name, rrsets in memory.zones.items()}
    with pytest.raises(Moved) as caught:
        _apply(memory, plan, tmp_path)
    assert key[0] in str(caught.value)
    assert rrset.texts[0] in str(caught.value)
    assert len(caught.value.what) == 1
    assert memory.zones == before
    assert ledgers.read(tmp_path) == ledgers.EMPTY


def test_what_moved_elsewhere_in_the_zone_does_not_matter(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    new = records("blog.example.com 60 A 203.0.113.5")
    memory.zones["example.com"].update(new)
    assert _apply(memory, plan, tmp_path).ok
    assert new.items() <= memory.zones["example.com"].items()


CALLS = 4 + 4 + 4  # read, write and read again each zone


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_killed_at_any_call_and_run_again(
    memory: Memory, tmp_path: Path, number: int, when: str
) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    (memory.faults if when == "before" else memory.after)[number] = kill
    with suppress(Killed):
        _apply(memory, plan, tmp_path)
    memory.faults.clear()
    memory.after.clear()
    result = _apply(memory, plan, tmp_path)
    assert result.ok
    _holds(memory)
    assert _plan(memory, tmp_path).zones == ()
    # Nothing is forgotten: all of it can be taken away again.
    less = desired([MTA1, MX1])
    assert _apply(memory, _plan(memory, tmp_path, less), tmp_path).ok
    _holds(memory, less)


@pytest.mark.parametrize("number", range(5, 9))
def test_an_answer_that_is_lost_after_the_write_is_no_failure(
    memory: Memory, tmp_path: Path, number: int
) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    memory.after[number] = unknown
    assert _apply(memory, plan, tmp_path).ok
    _holds(memory)
    assert len([call for call in memory.calls if call.startswith("write")]) == 4


def test_an_answer_that_is_lost_before_the_write_is_not_repeated_blindly(
    memory: Memory, tmp_path: Path
) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    memory.faults[5] = unknown
    result = _apply(memory, plan, tmp_path)
    assert len(result.failed) == 1
    assert len(result.written) == 3
    memory.faults.clear()
    assert _apply(memory, plan, tmp_path).ok
    _holds(memory)


def test_a_refusal_in_one_zone_leaves_the_others_done(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    memory.faults[6] = refused
    result = _apply(memory, plan, tmp_path)
    assert not result.ok
    assert len(result.written) == 3
    memory.faults.clear()
    assert _apply(memory, plan, tmp_path).ok
    _holds(memory)


def test_a_conflict_is_read_again_and_tried_again(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    memory.faults[5] = conflict
    assert _apply(memory, plan, tmp_path).ok
    _holds(memory)


def test_somebody_who_is_faster_than_the_write(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    theirs = records("example.com 60 MX 5 mail.other.example.")

    def meanwhile(what: str, zone: str) -> None:
        memory.zones["example.com"].update(theirs)

    memory.faults[5] = meanwhile
    result = _apply(memory, plan, tmp_path)
    assert list(result.failed) == ["example.com"]
    assert isinstance(result.failed["example.com"], Moved)
    assert memory.zones["example.com"] == {**apex("example.com"), **FOREIGN, **theirs}


def test_yes_is_not_success(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    memory.ignore_writes = True
    result = _apply(memory, plan, tmp_path)
    assert len(result.failed) == 4
    text = str(result.failed["example.com"])
    assert "accepted the changes, but the zone does not have them" in text
    assert "example.com/MX: wanted 10 mx1.eu.example.net." in text


def test_a_zone_that_cannot_be_read_stops_before_any_write(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    memory.calls.clear()
    memory.faults[2] = refused
    with pytest.raises(ProviderError, match="the read is refused"):
        _apply(memory, plan, tmp_path)
    assert not [call for call in memory.calls if call.startswith("write")]


def test_an_offline_plan_is_not_applied(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    offline = Plan(plan.fleet, plan.claims, None, True, plan.zones)
    with pytest.raises(PlanFileError, match="offline"):
        _apply(memory, offline, tmp_path)


def test_two_at_once_are_refused(memory: Memory, tmp_path: Path) -> None:
    plan = _plan(memory, tmp_path)
    with ledgers.locked(tmp_path), pytest.raises(LedgerError, match="Another mailfleet"):
        _apply(memory, plan, tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 9, "zones": {}}', "no json"])
def test_a_damaged_ledger_is_an_error_not_an_empty_one(tmp_path: Path, text: str) -> None:
    path = ledgers.path_of(tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LedgerError, match="damaged"):
        ledgers.read(tmp_path)


def test_the_ledger_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers.write(tmp_path, ledgers.EMPTY)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    before = ledgers.path_of(tmp_path).read_text()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LedgerError, match="No space left"):
        ledgers.write(tmp_path, ledgers.EMPTY)
    assert ledgers.path_of(tmp_path).read_text() == before


def test_a_host_moves_to_another_address(memory: Memory, tmp_path: Path) -> None:
    _apply(memory, _plan(memory, tmp_path), tmp_path)
    moved = desired([{**MTA1, "ipv4": "198.51.100.77"}, MX1, MX2], [COM])
    assert _apply(memory, _plan(memory, tmp_path, moved), tmp_path).ok
    _holds(memory, moved)
    more = desired([{**MTA1, "ipv4": "198.51.100.77"}, MTA2, MX1, MX2], [COM])
    assert _apply(memory, _plan(memory, tmp_path, more), tmp_path).ok
    _holds(memory, more)
