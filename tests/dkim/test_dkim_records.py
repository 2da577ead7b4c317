"""Selectors, and the record of public keys in the fleet directory."""

from __future__ import annotations

import base64
import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfleet.dkim.observe import DkimKeys
from mailfleet.dkim.records import (
    DkimKey,
    load_keys,
    merged,
    read_record,
    record_path,
    write_record,
)
from mailfleet.dkim.selector import newest, selector_for, stem_of
from mailfleet.fleet.errors import FleetError
from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet

ROOT = Path(__file__).parents[2]
EU, US = "mta1.eu.example.net", "mta1.us.example.net"


def _public_key() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


OLD, NEW = _public_key(), _public_key()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return load(ROOT).model_copy(update={"directory": tmp_path})


# -- selectors


def test_selector_of_the_month() -> None:
    assert selector_for(EU, "example.net", dt.date(2026, 11, 3)) == "mta1-eu-202611"


def test_long_names_stay_labels_and_apart() -> None:
    names = [f"{'a' * 40}.{'b' * 40}{n}.example.net" for n in range(3)]
    selectors = {selector_for(name, "example.net", dt.date(2026, 1, 1)) for name in names}
    assert len(selectors) == 3
    assert all(len(selector) <= 63 for selector in selectors)
    assert stem_of("mail.example.net", "example.net") == "mail"


def test_newest_goes_by_the_month_and_knows_only_ours() -> None:
    assert newest({"b-202601", "a-202607", "mail", "x-20260701"}) == "a-202607"
    assert newest(set()) is None


# -- what the host says


def test_keys_of_a_host() -> None:
    said = [f"key mta1-eu-202611 {OLD}", f"key Mail-202611 {NEW}", "mailfleet-dkim"]
    assert DkimKeys().process(said) == {"mta1-eu-202611": OLD}
    assert DkimKeys().process(["mailfleet-dkim"]) == {}


@pytest.mark.parametrize("said", [[], [f"key mta1-eu-202611 {OLD}"], ["sh: not found"]])
def test_a_read_that_failed_is_not_a_host_without_keys(said: list[str]) -> None:
    assert DkimKeys().process(said) is None


# -- records


def test_written_and_read(fleet: Fleet) -> None:
    keys = merged((), {"mta1-eu-202611": NEW})
    write_record(fleet.directory, EU, keys)
    assert read_record(fleet.directory, EU) == keys
    assert load_keys(fleet) == {EU: (DkimKey(selector="mta1-eu-202611", public_key=NEW),)}
    text = json.loads((fleet.directory / "state/dkim" / f"{EU}.json").read_text())
    assert text["host"] == EU
    assert text["keys"] == [{"selector": "mta1-eu-202611", "public_key": NEW, "state": "active"}]
    assert [path.name for path in record_path(fleet.directory, EU).parent.iterdir()] == [
        f"{EU}.json"
    ]


def test_a_second_key_retires_the_first() -> None:
    first = merged((), {"m-202601": OLD})
    both = merged(first, {"m-202601": OLD, "m-202607": NEW})
    assert [(key.selector, key.state) for key in both] == [
        ("m-202601", "retiring"),
        ("m-202607", "active"),
    ]
    assert merged(both, {"m-202601": OLD, "m-202607": NEW}) == both
    assert merged(both, {"m-202607": NEW}) == both, "what is published stays on record"


def test_a_host_that_was_set_up_anew_has_a_new_key_under_the_old_name() -> None:
    before = merged((), {"m-202601": OLD})
    assert merged(before, {"m-202601": NEW}) == (
        DkimKey(selector="m-202601", public_key=NEW, state="active"),
    )


def test_no_record_is_no_key(fleet: Fleet) -> None:
    assert load_keys(fleet) == {}
    assert read_record(fleet.directory, EU) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Invalid JSON"),
        ('{"host": "mta1.eu.example.net"', "Invalid JSON"),
        ('{"host": "mta1.eu.example.net"}', "keys: Field required"),
        ('{"host": "mta9.example.net", "keys": []}', "host: it is of mta9.example.net"),
        (
            json.dumps({"host": EU, "keys": [{"selector": "a-202601", "public_key": OLD[:-9]}]}),
            "keys.0.public_key",
        ),
        (
            json.dumps({"host": EU, "keys": [{"selector": "A b", "public_key": OLD}]}),
            "keys.0.selector",
        ),
    ],
    ids=["empty", "cut", "without", "another", "key", "selector"],
)
def test_damaged_records_are_all_reported(fleet: Fleet, text: str, found: str) -> None:
    for name in (EU, US):
        path = record_path(fleet.directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(FleetError) as raised:
        load_keys(fleet)
    said = str(raised.value)
    assert found in said
    assert f"state/dkim/{EU}.json" in said
    assert f"state/dkim/{US}.json" in said
    assert f"mailfleet deploy --limit {EU}" in said


def test_an_unreadable_record(fleet: Fleet) -> None:
    record_path(fleet.directory, EU).mkdir(parents=True)
    with pytest.raises(FleetError, match="Is a directory"):
        load_keys(fleet)
