"""Plans and claims as people read them."""

from __future__ import annotations

from dataclasses import replace

from dns_fleets import PUBLIC_KEYS, carried_out, desired, planned, records, world

from mailfleet.dns import report
from mailfleet.dns.claims import Desired
from mailfleet.dns.draft import Draft, Options
from mailfleet.dns.errors import Refused
from mailfleet.dns.ledger import EMPTY
from mailfleet.dns.plan import Plan
from mailfleet.dns.providers.base import Capabilities
from mailfleet.dns.records import key_from_text


def _text(made: Draft, *, waiting: tuple[str, ...] = ()) -> str:
    return report.plan_text(Plan("test", "", None, False, tuple(made.zones), waiting))


def test_a_change_shows_old_new_who_stays_and_why() -> None:
    token = records('example.com 600 TXT "token"')
    seen = world(desired(), example_com=token)
    seen, ledger = carried_out(seen, planned(desired(), seen), EMPTY)
    domain = {
        "name": "example.com",
        "pools": ["bulk"],
        "spf": {"include": ["third.example"]},
        "dmarc": {"policy": "quarantine", "rua": ["dmarc@example.com"]},
    }
    assert _text(planned(desired(domains=[domain]), seen, ledger)) == (
        "example.com (account primary)\n"
        "  ~ example.com TXT 600\n"
        '      - "v=spf1 include:_spf.example.net ~all"\n'
        '      + "v=spf1 include:_spf.example.net include:third.example ~all"\n'
        "        (keeps 1 value of others)\n"
        "      why: who may send for the domain: our senders, third.example\n"
        "\n"
        "1 to update. Plan " + _digest(planned(desired(domains=[domain]), seen, ledger)) + "."
    )


def _digest(made: Draft) -> str:
    return Plan("test", "", None, False, tuple(made.zones)).sha256[:12]


def test_nothing_to_do() -> None:
    assert _text(Draft()) == "No changes."
    assert _text(Draft(), waiting=("mta1.example.net",)) == (
        "No changes.\nWaiting for the key of mta1.example.net: deploy it first."
    )


def test_a_ttl_change_and_an_adoption() -> None:
    foreign = records("example.com 600 MX 5 mail.old.example.")
    options = Options(adopt=frozenset([key_from_text("example.com/MX")]))
    text = _text(planned(desired(), world(desired(), example_com=foreign), options=options))
    assert "  ~ example.com MX 600 -> 3600  adopted: ours from now on\n" in text
    assert "      - 5 mail.old.example.\n" in text


def test_the_middle_of_a_key_is_left_out() -> None:
    text = _text(planned(desired(), world(desired())))
    assert '"v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG…' in text
    assert PUBLIC_KEYS[0] not in text
    assert max(len(line) for line in text.splitlines()) < 130


def test_by_hand_in_the_form_people_paste() -> None:
    want: Desired = desired(zones=["example.net", "example.com"])
    seen = world(want)
    seen[""] = replace(
        seen[""], rrsets=records("25.100.51.198.in-addr.arpa 60 PTR static.isp.example.")
    )
    by_hand = Capabilities(writes=False, lists=False)
    seen["example.com"] = replace(
        seen["example.com"],
        capabilities=by_hand,
        rrsets=records('example.com 60 TXT "token"', 'example.com 60 TXT "v=spf1 mx -all"'),
    )
    text = _text(planned(want, seen))
    assert "example.com (account primary): enter this by hand at the provider" in text
    assert '  remove  example.com. 60 IN TXT "v=spf1 mx -all"\n' in text
    assert '  enter   example.com. 60 IN TXT "v=spf1 include:_spf.example.net ~all"\n' in text
    assert "token" not in text
    assert "  reverse DNS of 198.51.100.10: mta1.eu.example.net\n" in text
    assert "  reverse DNS of 198.51.100.25: mx1.eu.example.net (now static.isp.example.)\n" in text
    assert "to enter by hand" in text.splitlines()[-1]


def test_every_refusal_with_its_way_out() -> None:
    foreign = records("example.com 600 MX 5 old.example.", "_dmarc.example.com 60 CNAME x.example.")
    made = planned(desired(), world(desired(), example_com=foreign))
    text = report.refused_text(Refused(made.refusals))
    assert text.startswith("Nothing is planned: 2 reasons.")
    assert "    To replace it: --adopt example.com/MX" in text
    assert "✗ _dmarc.example.com TXT: _dmarc.example.com is a CNAME to x.example." in text
