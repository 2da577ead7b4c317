"""What the simulators find out about a message, against messages whose truth is known."""

from __future__ import annotations

import pytest
from lab_dns_server import SERVFAIL, SILENT, DnsServer
from lab_simulator import DOMAIN, HOST, SELECTOR, Key, Simulator, compose

from mailfleet.lab.providers.records import Message
from mailfleet.lab.providers.resolver import Resolver


def _accept(simulator: Simulator, message: bytes, **options: object) -> Message:
    code, reply = simulator.send(message, **options)  # type: ignore[arg-type]
    assert code == 250, reply
    return simulator.messages[-1]


def test_a_message_that_does_everything_right(google: Simulator, key: Key) -> None:
    content = key.sign(compose())
    message = _accept(google, content)
    verdicts = message.verdicts
    assert (verdicts.spf.result, verdicts.spf.domain) == ("pass", DOMAIN)
    assert verdicts.spf_helo.result == "none"
    [signature] = verdicts.dkim
    assert signature.result == "pass"
    assert (signature.domain, signature.selector) == (DOMAIN, SELECTOR)
    assert (signature.key_bits, signature.algorithm) == (2048, "rsa-sha256")
    assert (verdicts.dmarc.result, verdicts.dmarc.policy) == ("pass", "reject")
    assert verdicts.dmarc.spf_aligned
    assert verdicts.dmarc.dkim_aligned
    assert (verdicts.peer.reverse, verdicts.peer.ptr) == ("pass", HOST)
    assert verdicts.peer.helo_is_ptr
    assert verdicts.peer.helo_resolves
    assert message.tls is not None
    assert message.tls.version == "TLSv1.3"
    assert message.folder == "inbox"
    assert message.size == len(content)
    assert not verdicts.temporary


def test_without_tls(google: Simulator, key: Key) -> None:
    assert _accept(google, key.sign(compose()), tls=False).tls is None


def test_spf_from_an_address_that_is_not_listed(
    google: Simulator, zone: DnsServer, key: Key
) -> None:
    zone.add("2.0.0.127.in-addr.arpa", "PTR", "other.example.net.")
    zone.add("other.example.net", "A", "127.0.0.2")
    message = _accept(google, key.sign(compose()), source="127.0.0.2", helo="other.example.net")
    assert message.verdicts.spf.result == "fail"
    assert not message.verdicts.dmarc.spf_aligned
    assert message.verdicts.dmarc.result == "pass"  # DKIM speaks for the domain


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1 a:{host} -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 include:_spf.example.net -all", "pass"),
        ("v=spf1 redirect=_spf.example.net", "pass"),
        ("v=spf1 exists:%{{ir}}.list.example.net -all", "pass"),
        ("v=spf1 ptr:example.net -all", "pass"),
        ("v=spf1 ip4:127.0.0.1 nonsense -all", "permerror"),
        ("v=spf1 include:missing.example.net -all", "permerror"),
        (
            "v=spf1 " + " ".join(f"a:void{i}.example.net" for i in range(4)) + " -all",
            "permerror",
        ),
        ("v=spf1 " + " ".join(["a:mta2.example.net"] * 11) + " -all", "permerror"),
        ("other text", "none"),
    ],
)
def test_spf_results(google: Simulator, zone: DnsServer, record: str, result: str) -> None:
    zone.text(DOMAIN, record.format(host=HOST))
    zone.text("_spf.example.net", "v=spf1 ip4:127.0.0.0/30 -all")
    zone.add("1.0.0.127.list.example.net", "A", "127.0.0.2")
    zone.add("mta2.example.net", "A", "127.0.0.99")
    assert _accept(google, compose()).verdicts.spf.result == result


def test_two_spf_records_are_a_permanent_error(google: Simulator, zone: DnsServer) -> None:
    zone.add(DOMAIN, "TXT", '"v=spf1 -all"', '"v=spf1 ip4:127.0.0.1 -all"')
    assert _accept(google, compose()).verdicts.spf.result == "permerror"


def test_spf_of_a_bounce_is_that_of_helo(google: Simulator, zone: DnsServer) -> None:
    zone.text(HOST, "v=spf1 a -all")
    message = _accept(google, compose(author=f"postmaster@{HOST}"), sender="")
    assert message.envelope.sender == ""
    assert (message.verdicts.spf.result, message.verdicts.spf.scope) == ("pass", "helo")
    assert message.verdicts.spf.domain == HOST


def test_signed_with_another_key(google: Simulator, other_key: Key) -> None:
    [signature] = _accept(google, other_key.sign(compose())).verdicts.dkim
    assert signature.result == "fail"
    assert signature.key_bits == 2048


def test_altered_body(google: Simulator, key: Key) -> None:
    altered = key.sign(compose()).replace(b"Some text", b"Same text")
    [signature] = _accept(google, altered).verdicts.dkim
    assert signature.result == "fail"
    assert "body hash" in signature.reason


def test_altered_subject(google: Simulator, key: Key) -> None:
    altered = key.sign(compose()).replace(b"Subject: Hello", b"Subject: Hullo")
    assert _accept(google, altered).verdicts.dkim[0].result == "fail"


def test_relaxed_canonicalization_survives_white_space(google: Simulator, key: Key) -> None:
    altered = key.sign(compose(body="Some text.\r\n\r\n")).replace(
        b"Subject: Hello", b"subject:   Hello "
    )
    assert _accept(google, altered).verdicts.dkim[0].result == "pass"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "no key"),
        ("v=DKIM1; k=rsa; p=", "revoked"),
        ("v=DKIM1; k=rsa; p=AAAA", "unusable"),
        ("v=DKIM1; p=not base64 at all!!", "unusable"),
        ("nonsense", "unreadable"),
    ],
)
def test_unusable_keys(
    google: Simulator, zone: DnsServer, key: Key, record: str | None, reason: str
) -> None:
    name = f"{SELECTOR}._domainkey.{DOMAIN}"
    zone.remove(name, "TXT")
    if record is not None:
        zone.text(name, record)
    [signature] = _accept(google, key.sign(compose())).verdicts.dkim
    assert signature.result == "permerror"
    assert reason in signature.reason
    assert signature.key_bits is None


def test_two_key_records(google: Simulator, zone: DnsServer, key: Key, other_key: Key) -> None:
    name = f"{SELECTOR}._domainkey.{DOMAIN}"
    zone.load([(name, "TXT", '"v=DKIM1; p="')])
    [signature] = _accept(google, key.sign(compose())).verdicts.dkim
    assert (signature.result, "2 key records" in signature.reason) == ("permerror", True)


def test_a_short_key_is_named_as_such(google: Simulator, zone: DnsServer) -> None:
    short = Key.make(1024)
    zone.text(f"short._domainkey.{DOMAIN}", short.record)
    [signature] = _accept(google, short.sign(compose(), selector="short")).verdicts.dkim
    assert (signature.result, signature.key_bits) == ("pass", 1024)


def test_a_signature_that_does_not_cover_from(google: Simulator, key: Key) -> None:
    signed = key.sign(compose()).replace(b"h=from", b"h=form", 1).replace(b" : from", b"", 1)
    [signature] = _accept(google, signed).verdicts.dkim
    assert signature.result == "permerror"


def test_every_signature_has_its_own_verdict(
    google: Simulator, zone: DnsServer, key: Key, other_key: Key
) -> None:
    zone.text("esp._domainkey.esp.example", other_key.record)
    signed = other_key.sign(key.sign(compose()), domain="esp.example", selector="esp")
    broken = signed.replace(b"d=example.com", b"d=examp1e.com")
    message = _accept(google, broken)
    assert [(d.domain, d.result) for d in message.verdicts.dkim] == [
        ("esp.example", "pass"),
        ("examp1e.com", "permerror"),
    ]
    assert not message.verdicts.dmarc.dkim_aligned
    assert message.verdicts.dmarc.result == "pass"  # by SPF
    message = _accept(google, signed)
    assert [d.result for d in message.verdicts.dkim] == ["pass", "pass"]
    assert message.verdicts.dmarc.dkim_aligned


def test_key_record_behind_an_alias_into_another_zone(
    google: Simulator, zone: DnsServer, key: Key
) -> None:
    name = f"{SELECTOR}._domainkey.{DOMAIN}"
    zone.remove(name, "TXT")
    zone.add(name, "CNAME", "key.esp.example.")
    zone.text("key.esp.example", key.record)
    assert _accept(google, key.sign(compose())).verdicts.dkim[0].result == "pass"


def test_unaligned_from(google: Simulator, zone: DnsServer, key: Key) -> None:
    zone.text("_dmarc.victim.example", "v=DMARC1; p=quarantine")
    message = _accept(google, key.sign(compose(author="ceo@victim.example")))
    dmarc = message.verdicts.dmarc
    assert message.verdicts.spf.result == "pass"
    assert message.verdicts.dkim[0].result == "pass"
    assert (dmarc.result, dmarc.disposition, dmarc.domain) == (
        "fail",
        "quarantine",
        "victim.example",
    )
    assert message.folder == "spam"


@pytest.mark.parametrize(
    ("author", "record", "result"),
    [
        ("news@sub.example.com", "v=DMARC1; p=reject", "pass"),
        ("news@sub.example.com", "v=DMARC1; p=reject; aspf=s; adkim=s", "fail"),
        ("news@sub.example.com", "v=DMARC1; p=reject; adkim=s", "pass"),
        ("news@example.com", "v=DMARC1; p=reject; aspf=s; adkim=s", "pass"),
        ("news@example.com", " v=DMARC1; p=reject", "none"),
        ("news@example.com", "v=DMARC1", "none"),
        ("news@example.com", "v=DMARC1; p=refuse", "none"),
        ("news@example.com", "v=DMARC1; p=refuse; rua=mailto:d@example.com", "pass"),
        ("news@example.com", "v = DMARC1 ; P=Reject ;", "pass"),
    ],
)
def test_alignment_and_records(
    google: Simulator, zone: DnsServer, key: Key, author: str, record: str, result: str
) -> None:
    zone.text(f"_dmarc.{DOMAIN}", record)
    assert _accept(google, key.sign(compose(author=author))).verdicts.dmarc.result == result


@pytest.mark.parametrize(
    ("own", "policy", "at"),
    [
        (None, "quarantine", DOMAIN),  # sp= of the organizational domain
        ("v=DMARC1; p=none", "none", f"shop.{DOMAIN}"),  # its own record goes first
    ],
)
def test_subdomain_policy(
    google: Simulator, zone: DnsServer, own: str | None, policy: str, at: str
) -> None:
    if own is not None:
        zone.text(f"_dmarc.shop.{DOMAIN}", own)
    message = _accept(
        google, compose(author=f"news@shop.{DOMAIN}"), sender="bounce@elsewhere.example"
    )
    dmarc = message.verdicts.dmarc
    assert (dmarc.result, dmarc.disposition, dmarc.policy_domain) == ("fail", policy, at)


def test_organizational_domain_comes_from_the_public_suffix_list(
    google: Simulator, zone: DnsServer
) -> None:
    zone.text("_dmarc.co.uk", "v=DMARC1; p=reject")
    zone.text("_dmarc.shop.co.uk", "v=DMARC1; p=quarantine")
    dmarc = _accept(google, compose(author="a@mail.shop.co.uk")).verdicts.dmarc
    assert (dmarc.policy_domain, dmarc.policy) == ("shop.co.uk", "quarantine")
    dmarc = _accept(google, compose(author="a@other.co.uk")).verdicts.dmarc
    assert dmarc.result == "none"


def test_two_dmarc_records_count_as_none(google: Simulator, zone: DnsServer) -> None:
    zone.load([(f"_dmarc.{DOMAIN}", "TXT", '"v=DMARC1; p=none"')])
    dmarc = _accept(google, compose()).verdicts.dmarc
    assert (dmarc.result, dmarc.disposition) == ("none", "none")
    assert "2 DMARC records" in dmarc.reason


@pytest.mark.parametrize(
    "headers",
    [
        "From: a@example.com\r\nFrom: b@victim.example\r\n",
        "From: a@example.com, b@victim.example\r\n",
        "X-From: a@example.com\r\n",
        "From: not an address\r\n",
        "From: \r\n",
    ],
    ids=["two fields", "two authors", "none", "no address", "empty"],
)
def test_from_fields_without_one_author(google: Simulator, headers: str) -> None:
    message = _accept(google, headers.encode() + b"Subject: x\r\n\r\nx\r\n")
    assert message.verdicts.dmarc.result == "permerror"


def test_two_authors_of_one_domain_have_one_policy(google: Simulator) -> None:
    message = _accept(google, compose(author=f"a@{DOMAIN}, b@{DOMAIN}"))
    assert message.verdicts.dmarc.result == "pass"


def test_international_author_domain(google: Simulator, zone: DnsServer) -> None:
    zone.text("_dmarc.xn--bcher-kva.example", "v=DMARC1; p=reject")
    message = _accept(
        google, compose(author="a@bücher.example"), options=("SMTPUTF8", "BODY=8BITMIME")
    )
    dmarc = message.verdicts.dmarc
    assert (dmarc.domain, dmarc.disposition) == ("xn--bcher-kva.example", "reject")


def test_no_pointer(google: Simulator, zone: DnsServer) -> None:
    zone.remove("1.0.0.127.in-addr.arpa", "PTR")
    peer = _accept(google, compose()).verdicts.peer
    assert (peer.reverse, peer.ptr, peer.helo_is_ptr) == ("none", None, False)
    assert peer.helo_resolves
    assert "no PTR" in peer.reason


def test_pointer_that_does_not_lead_back(google: Simulator, zone: DnsServer) -> None:
    zone.add("1.0.0.127.in-addr.arpa", "PTR", "elsewhere.example.net.")
    zone.add("elsewhere.example.net", "A", "127.0.0.77")
    peer = _accept(google, compose()).verdicts.peer
    assert (peer.reverse, peer.pointers) == ("fail", ("elsewhere.example.net",))


def test_helo_that_is_not_the_pointer(google: Simulator, zone: DnsServer) -> None:
    zone.add("alias.example.net", "A", "127.0.0.1")
    peer = _accept(google, compose(), helo="alias.example.net").verdicts.peer
    assert (peer.reverse, peer.ptr) == ("pass", HOST)
    assert (peer.helo_is_ptr, peer.helo_resolves) == (False, True)
    assert _accept(google, compose(), helo="MTA1.EU.example.net").verdicts.peer.helo_is_ptr


def test_one_of_several_pointers_is_enough(google: Simulator, zone: DnsServer) -> None:
    zone.add("1.0.0.127.in-addr.arpa", "PTR", "stale.example.net.", f"{HOST}.")
    peer = _accept(google, compose()).verdicts.peer
    assert (peer.reverse, peer.ptr, peer.helo_is_ptr) == ("pass", HOST, True)


@pytest.mark.parametrize("how", [SERVFAIL, SILENT])
def test_a_failing_name_server_is_a_temporary_error_never_a_pass(
    zone: DnsServer, simulate: object, key: Key, how: str
) -> None:
    google: Simulator = simulate(resolver=Resolver([zone.endpoint], lifetime=0.4))  # type: ignore[operator]
    for name in (
        DOMAIN,
        f"{SELECTOR}._domainkey.{DOMAIN}",
        f"_dmarc.{DOMAIN}",
        "1.0.0.127.in-addr.arpa",
    ):
        zone.failing[name] = how
    message = _accept(google, key.sign(compose()))
    verdicts = message.verdicts
    assert verdicts.spf.result == "temperror"
    assert verdicts.dkim[0].result == "temperror"
    assert verdicts.dmarc.result == "temperror"
    assert verdicts.peer.reverse == "temperror"
    assert verdicts.temporary


def test_failing_key_lookup_leaves_dmarc_undecided(
    google: Simulator, zone: DnsServer, key: Key
) -> None:
    zone.text(DOMAIN, "v=spf1 -all")
    zone.failing[f"{SELECTOR}._domainkey.{DOMAIN}"] = SERVFAIL
    dmarc = _accept(google, key.sign(compose())).verdicts.dmarc
    assert (dmarc.result, dmarc.disposition) == ("temperror", "none")


def test_an_alias_loop_is_a_temporary_error(google: Simulator, zone: DnsServer, key: Key) -> None:
    name = f"{SELECTOR}._domainkey.{DOMAIN}"
    zone.remove(name, "TXT")
    zone.add(name, "CNAME", "b.example.org.")
    zone.add("b.example.org", "CNAME", f"{name}.")
    assert _accept(google, key.sign(compose())).verdicts.dkim[0].result == "temperror"


def test_dns_is_asked_anew_for_each_message(google: Simulator, zone: DnsServer) -> None:
    assert _accept(google, compose()).verdicts.spf.result == "pass"
    zone.text(DOMAIN, "v=spf1 -all")
    assert _accept(google, compose()).verdicts.spf.result == "fail"
