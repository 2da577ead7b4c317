"""Asking every authoritative server: two real ones on the loopback, which may disagree."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dns.rdatatype import RdataType
from dns_fleets import ZONES, desired, planned, records, world
from dns_nameservers import KEY_NAME, Nameserver, need, running

from mailfleet.dns import report
from mailfleet.dns.changes import Action, Change
from mailfleet.dns.claims import Desired
from mailfleet.dns.errors import ProviderError
from mailfleet.dns.providers.base import World
from mailfleet.dns.providers.manual import Manual
from mailfleet.dns.providers.rfc2136 import Rfc2136
from mailfleet.dns.servers import Authorities, NoServers, Server
from mailfleet.dns.verify import Report, verify
from mailfleet.fleet.model import Rfc2136Account


@pytest.fixture(autouse=True, scope="module")
def knot() -> None:
    need("knot")


@dataclass(frozen=True)
class Pair:
    """The two name servers of all zones."""

    first: Nameserver
    second: Nameserver

    def authorities(self, timeout: float = 1.0) -> Authorities:
        return Authorities(self.first.resolver(), self.first.port, timeout)

    def fill(self, server: Nameserver, want: Desired) -> None:
        """Put every claim there."""
        for zone in planned(want, world(want)).zones:
            if not zone.by_hand:
                api = _api(server)
                api.write(api.read(zone.zone, []), zone.changes)

    def put(self, server: Nameserver, zone: str, *lines: str) -> None:
        """One RRset by another hand."""
        api = _api(server)
        view = api.read(zone, [])
        ((key, new),) = records(*lines).items()
        change = Change(Action.UPDATE, key, view.rrsets.get(key), new, (), "test", "test")
        api.write(view, [change])


def _api(server: Nameserver) -> Rfc2136:
    account = Rfc2136Account.model_validate(
        {
            "provider": "rfc2136",
            "server": server.address,
            "port": server.port,
            "key_name": KEY_NAME,
            "secret": "env:UNUSED",
        }
    )
    return Rfc2136("test", account, server.secret)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    zones = dict.fromkeys(ZONES, "")
    with (
        running("knot", tmp_path / "one", zones) as first,
        running(
            "knot",
            tmp_path / "two",
            zones,
            address="127.0.0.2",
            port=first.port,
            secret=first.secret,
        ) as second,
    ):
        yield Pair(first, second)


def _verify(pair: Pair, want: Desired, timeout: float = 0, world: World | None = None) -> Report:
    lines: list[str] = []
    return verify(want, world, pair.authorities(), timeout=timeout, progress=lines.append)


def test_all_agree(pair: Pair) -> None:
    want = desired()
    pair.fill(pair.first, want)
    pair.fill(pair.second, want)
    held = {zone: _api(pair.first).read(zone, []) for zone in ZONES}
    found = _verify(pair, want, world=held)
    assert found.ok, found
    assert found.servers == ("ns1.test (127.0.0.1)", "ns2.test (127.0.0.2)")
    assert found.addresses == 5
    assert report.report_text(found).startswith("applied    ok")


def test_a_server_that_lags_is_named_with_what_it_says(pair: Pair) -> None:
    want = desired()
    pair.fill(pair.first, want)
    found = _verify(pair, want)
    assert not found.ok
    assert found.published == ()
    assert {d.where for d in found.agreed} == {"ns2.test (127.0.0.2)"}
    assert len(found.agreed) == len(want.claims)
    assert "the name does not exist" in str(found.agreed)


def test_it_waits_until_the_last_server_agrees(pair: Pair) -> None:
    want = desired()
    pair.fill(pair.first, want)
    later = threading.Timer(1.0, pair.fill, (pair.second, want))
    later.start()
    lines: list[str] = []
    start = time.monotonic()
    found = verify(want, None, pair.authorities(), timeout=30, progress=lines.append)
    later.join()
    assert found.ok, found
    assert 0.9 < time.monotonic() - start < 20
    assert "waiting for" in lines[0]
    assert "ns2.test (127.0.0.2)" in lines[0]


def test_waiting_is_bounded(pair: Pair) -> None:
    start = time.monotonic()
    found = _verify(pair, desired(), timeout=1.5)
    assert not found.ok
    assert time.monotonic() - start < 10
    assert len(found.published) == len(desired().claims)


def test_a_second_spf_record_is_seen_and_other_texts_are_not(pair: Pair) -> None:
    want = desired()
    ours = '"v=spf1 include:_spf.example.net ~all"'
    for server in (pair.first, pair.second):
        pair.fill(server, want)
        pair.put(server, "example.com", f"example.com 60 TXT {ours}", 'example.com 60 TXT "token"')
    assert _verify(pair, want).ok
    second = 'example.com 60 TXT "v=spf1 -all"'
    pair.put(pair.second, "example.com", f"example.com 60 TXT {ours}", second)
    found = _verify(pair, want)
    (difference,) = found.agreed
    assert difference.record == "example.com/TXT"
    assert "v=spf1 -all" in difference.found


def test_reverse_dns_is_confirmed_forward(pair: Pair) -> None:
    want = desired()
    for server in (pair.first, pair.second):
        pair.fill(server, want)
        pair.put(server, ZONES[2], "10.100.51.198.in-addr.arpa 60 PTR static.isp.example.")
        pair.put(server, "example.net", "mx1.us.example.net 60 A 198.51.100.200")
    found = _verify(pair, want)
    assert {(d.where, d.found) for d in found.reverse} == {
        ("[198.51.100.10]", "the PTR says static.isp.example"),
        ("[198.51.100.153]", "mx1.us.example.net is at 198.51.100.200"),
    }
    assert not found.ok


def test_a_server_that_is_silent(pair: Pair) -> None:
    authorities = pair.authorities()  # nobody is at 127.0.0.3
    answer = authorities.ask(Server("ns9.test", "127.0.0.3"), "example.com", RdataType.MX)
    assert answer.status == "silent"
    assert answer.reason
    answer = authorities.ask(Server("ns6.test", "2001:db8:dead::1"), "example.com", RdataType.MX)
    assert answer.status in ("no-route", "silent")


def test_a_lame_server(pair: Pair) -> None:
    answer = pair.authorities().ask(Server("ns1.test", "127.0.0.1"), "example.edu", RdataType.MX)
    assert answer.status == "nothing"  # it holds the root here, and so may say so
    authorities = pair.authorities()
    assert authorities.zone_of("mta1.eu.example.net") == "example.net"
    assert [str(server) for server in authorities.of("example.net")] == [
        "ns1.test (127.0.0.1)",
        "ns2.test (127.0.0.2)",
    ]


def test_a_zone_that_nobody_serves(pair: Pair) -> None:
    with pytest.raises(NoServers, match=r"nowhere\.example"):
        pair.authorities().of("nowhere.example")
    want = desired(zones=[*ZONES, "eu.example.net"])
    found = _verify(pair, want)
    assert any("Is the zone delegated?" in d.found for d in found.published)


def test_manual_reads_the_authoritative_servers(pair: Pair) -> None:
    pair.put(pair.first, ZONES[2], "10.100.51.198.in-addr.arpa 60 PTR mta1.eu.example.net.")
    manual = Manual("", pair.authorities())
    right, missing = "10.100.51.198.in-addr.arpa", "25.100.51.198.in-addr.arpa"
    view = manual.read("", [(right, RdataType.PTR), (missing, RdataType.PTR)])
    assert set(view.rrsets) == {(right, RdataType.PTR)}
    assert not view.complete
    with pytest.raises(ProviderError, match="no API"):
        manual.write(view, [])


def test_a_ptr_by_hand_is_planned_until_it_is_there(pair: Pair) -> None:
    want = desired(zones=["example.net", "example.com"])
    manual = Manual("", pair.authorities())
    keys = [claim.key for claim in want.claims if claim.zone is None]
    seen = {**world(want), "": manual.read("", keys)}
    made = planned(want, seen)
    assert [zone.zone for zone in made.zones if zone.by_hand] == [""]
    pair.fill(pair.first, desired())
    seen[""] = manual.read("", keys)
    assert [zone.zone for zone in planned(want, seen).zones if zone.by_hand] == []
