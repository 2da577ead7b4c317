"""Selection, plan and waves."""

from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.hosts.changes import Change
from mailfleet.hosts.describe import plan_lines
from mailfleet.hosts.files import DEPLOYED
from mailfleet.hosts.plan import SelectionError, plan, select, waves
from mailfleet.hosts.results import HostResult

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet() -> Fleet:
    return load(ROOT)


def names(fleet: Fleet, regions: tuple[str, ...] = (), limits: tuple[str, ...] = ()) -> list[str]:
    return [host.name for host in select(fleet, regions, limits)]


def test_select(fleet: Fleet) -> None:
    assert len(names(fleet)) == 4
    assert names(fleet, ("us_east",)) == ["mta1.us.example.net", "mx1.us.example.net"]
    assert names(fleet, (), ("mx1.eu.example.net",)) == ["mx1.eu.example.net"]
    assert names(fleet, ("us_east",), ("mx*", "mta*")) == names(fleet, ("us_east",))


@pytest.mark.parametrize(
    ("regions", "limits", "said"),
    [
        (("eu_centrall",), (), "eu_central, us_east"),
        ((), ("mx9*",), "mta1.eu.example.net"),
        (("us_east",), ("mx1.eu.example.net",), "mx1.us.example.net"),
    ],
)
def test_select_refuses_what_is_not_there(
    fleet: Fleet, regions: tuple[str, ...], limits: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SelectionError, match=said):
        select(fleet, regions, limits)


def changing(name: str, *, new: bool = False) -> HostResult:
    changes = (Change(name, "file", "/etc/x", "change", ("-old", "+new")),)
    if new:
        changes += (Change(name, "file", DEPLOYED, "create"),)
    return HostResult(name, "changed", changes=changes, operations=("Settings",))


def test_new_hosts_at_once_then_canaries(fleet: Fleet) -> None:
    results = [
        changing("mta1.eu.example.net", new=True),
        changing("mx1.eu.example.net"),
        changing("mta1.us.example.net"),
        changing("mx1.us.example.net"),
    ]
    order = [(w.title, [h.name for h in w.hosts]) for w in waves(plan(fleet.hosts, results))]
    assert order == [
        ("new hosts", ["mta1.eu.example.net"]),
        ("eu_central, canary", ["mx1.eu.example.net"]),
        ("us_east, canary", ["mta1.us.example.net"]),
        ("us_east, the rest", ["mx1.us.example.net"]),
    ]


def test_hosts_without_changes_or_out_of_reach_are_in_no_wave(fleet: Fleet) -> None:
    results = [
        HostResult("mta1.eu.example.net", "unchanged"),
        HostResult("mx1.eu.example.net", "unreachable", "connect", ("timed out",), "is it up?"),
        HostResult("mta1.us.example.net", "failed", "Settings", ("no",), "look"),
        changing("mx1.us.example.net"),
    ]
    planned = plan(fleet.hosts, results)
    assert [[host.name for host in wave.hosts] for wave in waves(planned)] == [
        ["mx1.us.example.net"]
    ]
    text = "\n".join(plan_lines(planned))
    for words in (
        "mta1.eu.example.net (sender, eu_central): no changes",
        "mx1.eu.example.net: unreachable",
        "timed out",
        "-> is it up?",
        "mta1.us.example.net: failed at 'Settings'",
        "~ /etc/x",
        "+new",
    ):
        assert words in text
