"""The role `resolver`: what unbound is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.roles import resolver


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(Path(__file__).parents[2])


def unbound(fleet: Fleet, **changes: object) -> list[str]:
    host = fleet.host("mx1.eu.example.net").model_copy(update=changes)
    text = resolver.files(fleet, host)[0].content
    return [line.strip() for line in text.splitlines() if line.strip()[:1] != "#"]


def test_it_answers_this_host_alone(fleet: Fleet) -> None:
    assert [line for line in unbound(fleet) if line.startswith("interface:")] == [
        "interface: 127.0.0.1",
        "interface: ::1",
    ]
    assert resolver.ports(fleet, fleet.host("mx1.eu.example.net")) == ()


def test_it_asks_the_world_for_the_fleets_reverse_zones_and_no_others(fleet: Fleet) -> None:
    assert [line for line in unbound(fleet) if line.startswith("local-zone:")] == [
        'local-zone: "100.51.198.in-addr.arpa." nodefault',
        'local-zone: "8.b.d.0.1.0.0.2.ip6.arpa." nodefault',
    ]


def test_a_host_without_ipv6_does_not_try_it(fleet: Fleet) -> None:
    lines = unbound(fleet, ipv6=None)
    assert "do-ip6: no" in lines
    assert "interface: ::1" not in lines


def test_resolv_conf_lets_the_ad_bit_through(fleet: Fleet) -> None:
    content = resolver.resolv_conf(fleet.hosts[0]).content
    assert [line for line in content.splitlines() if line[:1] != "#"] == [
        "nameserver 127.0.0.1",
        "options edns0 trust-ad",
    ]
