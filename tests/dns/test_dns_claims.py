"""What the fleet wants the DNS to say."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from dns.rdatatype import RdataType
from dns_fleets import COM, KEYS, MTA1, MTA2, MX1, MX2, PUBLIC_KEYS, ZONES, Key, desired, fleet

from mailfleet.dns import spf
from mailfleet.dns.claims import Claim, Kind, derive
from mailfleet.dns.records import txt_text


def _by_name(claims: tuple[Claim, ...]) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(c.key[0], RdataType.to_text(c.key[1])): c.rrset.texts for c in claims}


def test_every_record_of_a_small_fleet() -> None:
    found = _by_name(desired().claims)
    assert found[("mta1.eu.example.net", "A")] == ("198.51.100.10",)
    assert found[("mta1.eu.example.net", "AAAA")] == ("2001:db8:1::10",)
    assert found[("mta1.eu.example.net", "TXT")] == ('"v=spf1 a -all"',)
    assert found[("10.100.51.198.in-addr.arpa", "PTR")] == ("mta1.eu.example.net.",)
    assert found[("example.com", "MX")] == ("10 mx1.eu.example.net.", "100 mx1.us.example.net.")
    assert found[("example.com", "TXT")] == ('"v=spf1 include:_spf.example.net ~all"',)
    assert found[("_spf.example.net", "TXT")] == (
        '"v=spf1 ip4:198.51.100.10 ip6:2001:db8:1::10 -all"',
    )
    assert found[("_dmarc.example.com", "TXT")] == (
        '"v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"',
    )
    (dkim,) = [c for c in desired().claims if c.kind is Kind.DKIM]
    assert dkim.key[0] == "mta1-eu-202611._domainkey.example.com"
    (rdata,) = dkim.rrset.rdatas
    assert txt_text(rdata) == f"v=DKIM1; k=rsa; p={PUBLIC_KEYS[0]}"
    assert len(found) == len(desired().claims)


def test_every_claim_says_why_and_for_whom() -> None:
    known = {"example.com", "example.net", *(host["name"] for host in (MTA1, MX1, MX2))}
    for claim in desired().claims:
        assert claim.why
        assert claim.subject in known


def test_only_spf_at_names_that_others_write_to_is_shared() -> None:
    shared = {claim.key[0] for claim in desired().claims if not claim.exclusive}
    assert shared == {
        "example.com",
        "mta1.eu.example.net",
        "mx1.eu.example.net",
        "mx1.us.example.net",
    }


def test_several_mx_then_backups() -> None:
    more = [
        {**MX1, "name": f"mx{i}.eu.example.net", "ipv4": f"198.51.100.{i}"} for i in range(30, 42)
    ]
    found = _by_name(desired([MTA1, MX1, *more, MX2]).claims)
    preferences = [int(text.split()[0]) for text in found[("example.com", "MX")]]
    assert preferences == [10 * i for i in range(1, 15)]


def test_third_parties_and_policies() -> None:
    domain = {
        "name": "example.com",
        "spf": {"include": ["mailgun.org"], "all": "-all"},
        "dmarc": {"policy": "reject", "subdomain_policy": "none", "rua": ["a!b@example.com"]},
    }
    found = _by_name(desired(domains=[domain]).claims)
    assert found[("example.com", "TXT")] == (
        '"v=spf1 include:_spf.example.net include:mailgun.org -all"',
    )
    assert found[("_dmarc.example.com", "TXT")] == (
        '"v=DMARC1; p=reject; sp=none; rua=mailto:a%21b@example.com"',
    )


def test_a_long_sender_list_is_split_into_parts_below_450_bytes() -> None:
    addresses = [ip_address(f"2001:db8::{i:x}") for i in range(1, 80)]
    parts = spf.sender_records("_spf.example.net", addresses)
    assert parts[0][0] == "_spf.example.net"
    assert all(len(text) <= spf.MAX_BYTES for _, text in parts)
    included = [t.removeprefix("include:") for t in parts[0][1].split() if "include:" in t]
    assert included == [name for name, _ in parts[1:]]
    listed = [term for _, text in parts[1:] for term in text.split() if term.startswith("ip6:")]
    assert listed == [f"ip6:{address}" for address in addresses]


def test_senders_without_a_key_are_waited_for() -> None:
    want = desired([MTA1, MTA2, MX1])
    assert want.waiting == ("mta2.eu.example.net",)
    assert want.held == ("mta2-eu-",)
    assert want.signing == {"mta1-eu-202611"}


def test_a_revoked_key_is_not_published() -> None:
    keys = {"mta1.eu.example.net": (Key("old-202601", state="revoked"), Key("new-202602"))}
    names = [c.key[0] for c in desired(keys=keys).claims if c.kind is Kind.DKIM]
    assert names == ["new-202602._domainkey.example.com"]


def test_addresses_only() -> None:
    want = derive(fleet(), KEYS, "addresses")
    assert {claim.kind for claim in want.claims} == {Kind.ADDRESS, Kind.HELO, Kind.PTR}
    assert want.waiting == ()


def test_names_go_to_the_closest_zone() -> None:
    claims = desired(
        zones=[*ZONES, "eu.example.net", "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"],
        domains=[COM, {"name": "news.example.com"}],
    ).claims
    zones = {claim.key[0]: claim.zone for claim in claims}
    assert zones["mta1.eu.example.net"] == "eu.example.net"
    assert zones["mx1.us.example.net"] == "example.net"
    assert zones["news.example.com"] == "example.com"
    assert zones["_dmarc.news.example.com"] == "example.com"
    v6 = [zone for name, zone in zones.items() if name.endswith("ip6.arpa")]
    assert set(v6) == {"1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"}


def test_a_reverse_zone_that_is_not_ours_gives_claims_by_hand() -> None:
    claims = desired(zones=["example.net", "example.com"]).claims
    assert {c.kind for c in claims if c.zone is None} == {Kind.PTR}


def test_a_host_that_is_a_mail_domain_too_has_one_spf_record() -> None:
    want = desired(domains=[COM, {"name": "mx1.eu.example.net"}])
    at = [c for c in want.claims if c.key == ("mx1.eu.example.net", RdataType.TXT)]
    assert [c.kind for c in at] == [Kind.SPF]


@pytest.mark.parametrize(("subject", "number"), [("example.com", 4), ("mta1.eu.example.net", 5)])
def test_claims_of_one_domain_or_host(subject: str, number: int) -> None:
    assert len(desired().of(subject)) == number
