"""What OpenDKIM is told, and which key a host signs with."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfleet.dkim.records import DkimKey, write_record
from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.roles import opendkim

ROOT = Path(__file__).parents[2]
EU, US = "mta1.eu.example.net", "mta1.us.example.net"
TODAY = dt.date(2026, 11, 22)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return load(ROOT).model_copy(update={"directory": tmp_path})


@pytest.fixture(scope="module")
def public_key() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


def texts(fleet: Fleet, name: str, selector: str | None) -> dict[str, str]:
    return {f.path: f.content for f in opendkim.files(fleet, fleet.host(name), selector)}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_signs_for_the_domains_of_its_pool_and_for_itself(fleet: Fleet) -> None:
    files = texts(fleet, US, "mta1-us-202611")
    assert rows(files["/etc/opendkim/signing.table"]) == [
        ["*@example.net", "example.net"],
        ["*@example.org", "example.org"],
        ["*@mta1.us.example.net", "example.net"],
    ]
    path = "/etc/dkimkeys/mta1-us-202611.private"
    assert rows(files["/etc/opendkim/key.table"]) == [
        ["example.net", f"example.net:mta1-us-202611:{path}"],
        ["example.org", f"example.org:mta1-us-202611:{path}"],
    ]


def test_a_host_outside_its_domains_signs_nothing_of_its_own(fleet: Fleet) -> None:
    domains = tuple(d for d in fleet.domains if d.name != "example.net")
    fleet = fleet.model_copy(update={"domains": domains})
    assert opendkim.signing_domains(fleet, fleet.host(US)) == {"example.org": "example.org"}


def test_settings(fleet: Fleet) -> None:
    said = {row[0]: " ".join(row[1:]) for row in rows(texts(fleet, EU, "x")["/etc/opendkim.conf"])}
    assert said["Socket"] == "inet:8891@127.0.0.1"
    assert said["Canonicalization"] == "relaxed/relaxed"
    assert said["OversignHeaders"] == "From"
    assert said["InternalHosts"] == "csl:127.0.0.1,::1"
    assert said["SigningTable"] == "refile:/etc/opendkim/signing.table"
    assert said["Mode"] == "s"


def test_no_file_holds_a_key(fleet: Fleet) -> None:
    for file in opendkim.files(fleet, fleet.host(EU), "x"):
        assert "PRIVATE" not in file.content
        assert not file.path.startswith("/etc/dkimkeys")


@pytest.mark.parametrize(
    ("keys", "selector"),
    [
        ({}, "mta1-eu-202611"),
        ({"mta1-eu-202601": "A"}, "mta1-eu-202601"),
        ({"mta1-eu-202601": "A", "mta1-eu-202607": "B"}, "mta1-eu-202607"),
        ({"zz-202512": "A", "aa-202601": "B"}, "aa-202601"),
    ],
)
def test_the_newest_key_is_kept(fleet: Fleet, keys: dict[str, str], selector: str) -> None:
    assert opendkim.selector_of(fleet, fleet.host(EU), keys, TODAY) == selector


def test_offline_it_is_the_recorded_selector(fleet: Fleet, public_key: str) -> None:
    assert "mta1-eu-YYYYMM" in texts(fleet, EU, None)["/etc/opendkim/key.table"]
    write_record(fleet.directory, EU, (DkimKey(selector="mta1-eu-202601", public_key=public_key),))
    assert "mta1-eu-202601" in texts(fleet, EU, None)["/etc/opendkim/key.table"]


def test_nothing_is_opened_to_the_world(fleet: Fleet) -> None:
    assert opendkim.ports(fleet, fleet.host(EU)) == ()
