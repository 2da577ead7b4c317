"""The rfc2136 provider against real servers: Knot and BIND.

What a server holds is read by a plain query of our own, not by the provider.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.rdata
import dns.tsigkeyring
import dns.update
import pytest
from dns.rdatatype import RdataType
from dns_nameservers import KEY_NAME, Nameserver, free_port, need, running

from mailfleet.dns.changes import Action, Change
from mailfleet.dns.errors import Conflict, ProviderError
from mailfleet.dns.providers.base import ZoneView
from mailfleet.dns.providers.rfc2136 import Rfc2136
from mailfleet.dns.records import RRset, key_from_text, rrset
from mailfleet.fleet.model import Rfc2136Account

ZONE = "example.com"
RECORDS = """ns1 IN A 127.0.0.1
@ IN TXT "google-site-verification=abc"
@ IN TXT "ab" "c"
@ IN MX 10 MX.Example.com.
mx IN A 192.168.7.7
old IN A 192.168.7.8
old IN AAAA fd00::8
alias IN CNAME mx
*.wild IN A 192.168.7.9
sub IN NS ns1.elsewhere.test.
"""


@pytest.fixture(params=["knot", "bind"], scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kind: str = request.param
    need(kind)
    with running(kind, tmp_path_factory.mktemp(kind), _zones(), signed=kind == "knot") as started:
        yield started


def _zones() -> dict[str, str]:
    # One zone a test, so that tests do not meet; `locked` has records that forbid things.
    return {f"{name}.{ZONE}": RECORDS.replace("Example.com.", "nowhere.test.") for name in NAMES}


NAMES = ("read", "write", "conflict", "silent", "bulk", "ttl", "soa", "fail", "cut")


def provider(server: Nameserver, **changes: Any) -> Rfc2136:
    account = {
        "provider": "rfc2136",
        "server": server.address,
        "port": server.port,
        "key_name": KEY_NAME,
        "secret": "env:UNUSED",
    }
    secret = changes.pop("tsig", server.secret)
    return Rfc2136("test", Rfc2136Account.model_validate({**account, **changes}), secret)


def change(view: ZoneView, text: str, ttl: int | None, *values: str) -> Change:
    """From what the view has to these values; no values: delete."""
    key = key_from_text(text)
    old = view.rrsets.get(key)
    new = rrset(*key, ttl, values) if values else None
    action = Action.DELETE if new is None else Action.UPDATE if old else Action.CREATE
    return Change(action, key, old, new, tuple(values), "test", "test")


def _get(view: ZoneView, text: str) -> RRset | None:
    return view.rrsets.get(key_from_text(text))


def test_a_zone_is_read_whole_and_without_what_the_server_makes(server: Nameserver) -> None:
    zone = f"read.{ZONE}"
    view = provider(server).read(zone, [])
    assert view.complete
    assert {
        f"{name.removesuffix(zone).rstrip('.') or '@'} {t.name}" for name, t in view.rrsets
    } == {
        "@ SOA",
        "@ NS",
        "@ TXT",
        "@ MX",
        "ns1 A",
        "mx A",
        "old A",
        "old AAAA",
        "alias CNAME",
        "*.wild A",
        "sub NS",
    }
    texts = _get(view, f"{zone}/TXT")
    assert texts is not None
    assert set(texts.texts) == {'"google-site-verification=abc"', '"abc"'}
    assert texts.ttl == 600


def test_create_update_and_delete_in_one_update(server: Nameserver) -> None:
    zone, api = f"write.{ZONE}", provider(server)
    view = api.read(zone, [])
    long_text = "v=DKIM1; k=rsa; p=" + "A" * 392
    api.write(
        view,
        [
            change(view, f"mta1.{zone}/A", 3600, "192.168.7.10"),
            change(view, f"mta1.{zone}/AAAA", 3600, "fd00::10"),
            change(view, f"{zone}/MX", 600, f"10 mta1.{zone}.", f"20 mx.{zone}."),
            change(
                view, f"s._domainkey.{zone}/TXT", 60, f'"{long_text[:255]}" "{long_text[255:]}"'
            ),
            change(view, f"{zone}/TXT", 600, '"google-site-verification=abc"', '"abc"', '"v=spf1"'),
            change(view, f"old.{zone}/AAAA", None),
        ],
    )
    assert server.ask(f"mta1.{zone}", "A") == {"192.168.7.10"}
    assert server.ask(f"mta1.{zone}", "AAAA") == {"fd00::10"}
    assert server.ask(zone, "MX") == {f"10 mta1.{zone}.", f"20 mx.{zone}."}
    assert server.ask(zone, "TXT") == {'"google-site-verification=abc"', '"ab" "c"', '"v=spf1"'}
    (dkim,) = server.ask(f"s._domainkey.{zone}", "TXT")
    assert dkim.replace('" "', "") == f'"{long_text}"'
    assert server.ask(f"old.{zone}", "AAAA") == set()
    assert server.ask(f"old.{zone}", "A") == {"192.168.7.8"}
    after = api.read(zone, [])
    expected = {key for key in view.rrsets if key != (f"old.{zone}", RdataType.AAAA)}
    assert expected <= set(after.rrsets)


def test_another_cut_of_a_text_is_deleted_in_the_form_the_server_has(server: Nameserver) -> None:
    zone, api = f"cut.{ZONE}", provider(server)
    view = api.read(zone, [])
    api.write(view, [change(view, f"{zone}/TXT", 600, '"google-site-verification=abc"')])
    assert server.ask(zone, "TXT") == {'"google-site-verification=abc"'}


def test_a_new_ttl_reaches_every_record_of_the_rrset(server: Nameserver) -> None:
    zone, api = f"ttl.{ZONE}", provider(server)
    view = api.read(zone, [])
    api.write(view, [change(view, f"old.{zone}/A", 120, "192.168.7.8")])
    found = _get(api.read(zone, []), f"old.{zone}/A")
    assert found == rrset(f"old.{zone}", RdataType.A, 120, ["192.168.7.8"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("old/A", ["192.168.7.99"]),  # changed behind our back
        ("fresh/A", ["192.168.7.98"]),  # created behind our back
        ("old/AAAA", []),  # deleted behind our back
    ],
)
def test_compare_and_swap(server: Nameserver, text: str, values: list[str]) -> None:
    zone, api = f"conflict.{ZONE}", provider(server)
    label, _, rdtype = text.partition("/")
    view = api.read(zone, [])
    _directly(server, zone, label, rdtype, values)
    theirs = server.ask(f"{label}.{zone}", rdtype)
    no_soa = replace(view, version="")  # so that it is the RRset that is compared
    wanted = change(
        view,
        f"{text.replace('/', f'.{zone}/')}",
        60,
        "192.168.7.97" if values else "fd00::97",
    )
    for seen in (view, no_soa):
        with pytest.raises(Conflict, match="no longer as it was read"):
            api.write(seen, [change(view, f"new.{zone}/A", 60, "192.168.7.96"), wanted])
    assert server.ask(f"{label}.{zone}", rdtype) == theirs
    assert server.ask(f"new.{zone}", "A") == set()


def _directly(server: Nameserver, zone: str, label: str, rdtype: str, values: list[str]) -> None:
    """Another client's update."""
    keyring = dns.tsigkeyring.from_text({KEY_NAME: server.secret})
    update = dns.update.UpdateMessage(zone, keyring=keyring)
    update.delete(label, rdtype)
    for value in values:
        update.add(label, 300, rdtype, value)
    assert dns.query.tcp(update, server.address, 5, server.port).rcode() == 0


def test_a_cname_in_the_way_is_a_conflict_not_silence(server: Nameserver) -> None:
    zone, api = f"silent.{ZONE}", provider(server)
    view = api.read(zone, [])
    with pytest.raises(Conflict):
        api.write(view, [change(view, f"alias.{zone}/TXT", 60, '"x"')])
    assert server.ask(f"alias.{zone}", "CNAME") == {f"mx.{zone}."}


def test_more_than_one_message_of_changes(server: Nameserver) -> None:
    zone, api = f"bulk.{ZONE}", provider(server)
    view = api.read(zone, [])
    text = "x" * 200
    changes = [change(view, f"n{i}.{zone}/TXT", 60, f'"{i} {text}"') for i in range(400)]
    api.write(view, changes)
    after = api.read(zone, [])
    assert len(after.rrsets) == len(view.rrsets) + 400
    assert server.ask(f"n399.{zone}", "TXT") == {f'"399 {text}"'}


def test_the_soa(server: Nameserver) -> None:
    zone, api = f"soa.{ZONE}", provider(server)
    (shown,) = server.ask(zone, "SOA")
    assert api.soa(zone).to_text() == shown


WRONG = base64.b64encode(b"w" * 32).decode()


@pytest.mark.parametrize(
    ("changes", "zone", "expected"),
    [
        ({"key_name": "stranger"}, f"fail.{ZONE}", "BADKEY"),
        ({"tsig": WRONG}, f"fail.{ZONE}", "BADSIG"),
        ({}, "nowhere.example", "NOTAUTH"),
    ],
    ids=["unknown-key", "wrong-secret", "unknown-zone"],
)
def test_errors_name_zone_server_reason_and_remedy(
    server: Nameserver, changes: dict[str, Any], zone: str, expected: str
) -> None:
    with pytest.raises(ProviderError) as caught:
        provider(server, **changes).read(zone, [])
    text = str(caught.value)
    assert expected in text
    assert zone in text
    assert server.address in text
    assert server.secret not in text
    assert WRONG not in text
    assert not caught.value.unreachable


def test_a_key_that_may_only_read_is_refused(server: Nameserver) -> None:
    api = provider(server, key_name="readonly")
    view = api.read(f"fail.{ZONE}", [])
    with pytest.raises(ProviderError, match=r"update the zone.*(REFUSED|allow it this)"):
        api.write(view, [change(view, f"new.fail.{ZONE}/A", 60, "192.168.7.1")])
    assert server.ask(f"new.fail.{ZONE}", "A") == set()


def test_clocks_that_differ(server: Nameserver, monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.message  # noqa: PLC0415

    real = dns.message.time.time

    class Clock:
        @staticmethod
        def time() -> float:
            return real() - 7200

    monkeypatch.setattr(dns.message, "time", Clock)
    monkeypatch.setattr("dns.renderer.time", Clock)
    with pytest.raises(ProviderError, match=r"clocks differ.*BADTIME"):
        provider(server).read(f"fail.{ZONE}", [])


def test_nobody_listens() -> None:
    nobody = Nameserver("none", "127.0.0.1", free_port(), WRONG, Path())
    with pytest.raises(ProviderError, match="unreachable") as caught:
        provider(nobody).read(ZONE, [])
    assert caught.value.unreachable


@pytest.fixture
def hanging() -> Iterator[Nameserver]:
    """Something that accepts a connection and hangs up."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(1000)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield Nameserver("none", "127.0.0.1", listener.getsockname()[1], WRONG, Path())
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_that_hangs_up_leaves_a_write_unknown(hanging: Nameserver) -> None:
    api = provider(hanging)
    with pytest.raises(ProviderError, match="hung up"):
        api.read(ZONE, [])
    view = ZoneView(ZONE, "test", api.capabilities, {})
    with pytest.raises(ProviderError) as caught:
        api.write(view, [change(view, f"a.{ZONE}/A", 60, "192.168.7.1")])
    assert caught.value.unknown


def test_a_secret_that_is_not_base64_is_not_shown() -> None:
    nobody = Nameserver("none", "127.0.0.1", 1, "not base64!", Path())
    with pytest.raises(ProviderError, match="not base64") as caught:
        provider(nobody)
    assert "not base64!" not in str(caught.value)
    assert caught.value.__cause__ is None
