"""Canonical record data."""

from __future__ import annotations

import dns.rdata
import pytest
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.dns import records
from mailfleet.dns.records import RRset, canonical, key_from_text, key_text, longest_zone, txt


def _txt(*strings: bytes) -> dns.rdata.Rdata:
    wire = b"".join(bytes([len(s)]) + s for s in strings)
    return dns.rdata.from_wire(1, RdataType.TXT, wire, 0, len(wire))


@given(st.lists(st.binary(max_size=255), min_size=1, max_size=6))
def test_txt_is_compared_by_its_joined_bytes(strings: list[bytes]) -> None:
    whole = b"".join(strings)
    chunks = [whole[i : i + 255] for i in range(0, len(whole), 255)] or [b""]
    assert canonical(_txt(*strings)) == _txt(*chunks)
    text = canonical(_txt(*strings)).to_text()
    assert records.parse(RdataType.TXT, text) == _txt(*chunks)


@given(st.text(max_size=700))
def test_txt_keeps_the_text(text: str) -> None:
    assert records.txt_text(txt(text)).encode("utf-8", "surrogatepass") == text.encode()


@pytest.mark.parametrize(
    ("rdtype", "one", "other"),
    [
        (RdataType.MX, "10 MX1.Example.NET.", "10 mx1.example.net."),
        (RdataType.CNAME, "Target.example.", "target.example."),
        (RdataType.TXT, '"ab" "c"', '"abc"'),
        (RdataType.AAAA, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ],
)
def test_equal_data_has_one_text(rdtype: RdataType, one: str, other: str) -> None:
    assert records.parse(rdtype, one).to_text() == records.parse(rdtype, other).to_text()


def test_rrset_round_trips_through_json() -> None:
    made = records.rrset("Example.com.", RdataType.MX, 300, ["100 b.", "20 a.", "10 c."])
    assert made.name == "example.com"
    assert made.texts == ("10 c.", "20 a.", "100 b.")
    assert RRset.from_json(made.name, made.rdtype, made.as_json()) == made


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("mta1.eu.example.net", "eu.example.net"),
        ("mx.us.example.net", "example.net"),
        ("example.net", "example.net"),
        ("notexample.net", None),
    ],
)
def test_the_longest_zone_wins(name: str, zone: str | None) -> None:
    assert longest_zone(name, ["example.net", "eu.example.net", "org"]) == zone


def test_keys_as_options_give_them() -> None:
    key = key_from_text("Example.com./txt")
    assert key == ("example.com", RdataType.TXT)
    assert key_text(key) == "example.com/TXT"


@pytest.mark.parametrize("text", ["example.com", "/TXT", "example.com/NOSUCH", ""])
def test_a_bad_key_says_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="for example"):
        key_from_text(text)


@given(st.lists(st.binary(max_size=255), min_size=1, max_size=6))
def test_the_presentation_form_is_dnspythons(strings: list[bytes]) -> None:
    assert records.presentation(_txt(*strings)) == _txt(*strings).to_text()
