"""JSON Schema of fleet.yml: valid, closed, and of one mind with the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mailfleet.fleet.model import FleetFile
from mailfleet.fleet.schema import fleet_schema, node_at, phrase, schema_of

ROOT = Path(__file__).parents[2]
SKELETON = ROOT / "mailfleet" / "fleet" / "skeleton"


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for key, item in node.items():
            if key != "default":
                yield from objects(item)
    elif isinstance(node, list):
        for item in node:
            yield from objects(item)


def test_it_is_a_valid_schema_of_its_draft() -> None:
    schema = fleet_schema()
    assert schema["$schema"].endswith("draft/2020-12/schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_every_object_is_closed() -> None:
    for node in objects(fleet_schema()):
        closed = node.get("additionalProperties")
        named = set(node) & {"patternProperties", "propertyNames"}
        assert closed is False or isinstance(closed, dict), node
        assert named or "properties" not in node or closed is False, node


def test_every_setting_is_described() -> None:
    for node in objects(fleet_schema()):
        for name, setting in node.get("properties", {}).items():
            assert setting.get("description") or name == "provider", name


@pytest.mark.parametrize("path", [ROOT / "fleet.yml", SKELETON / "fleet.yml"], ids=str)
def test_it_accepts_the_example_and_the_skeleton(path: Path) -> None:
    validator = jsonschema.Draft202012Validator(fleet_schema())
    assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  contact:", "  contct:"),
        ("target: 20000", 'target: "20000"'),
        ("provider: rfc2136", "provider: rcf2136"),
        ("secret: env:MAILFLEET_TSIG_SECRET", "secret: hunter2"),
        ("  example.com:\n", "  Example.com:\n"),
        ("google: 40", "gogle: 40"),
    ],
)
def test_it_refuses_what_the_loader_refuses(old: str, new: str) -> None:
    text = (ROOT / "fleet.yml").read_text()
    assert old in text
    validator = jsonschema.Draft202012Validator(fleet_schema())
    assert not validator.is_valid(yaml.safe_load(text.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("fleet", "zone"), "a domain name in lower case, such as example.com"),
        (("acme", "contact"), "a mail address, such as postmaster@example.com"),
        (("dns", "accounts", "a"), "settings with provider: "),
        (("dns", "accounts", "a", "port"), "a whole number from 1 to 65535"),
        (("dns", "zones", "example.com"), "text"),
        (("domains", "example.com", "spf", "all"), "one of -all, ~all, ?all"),
        (("domains", "example.com", "mx", 0), "a domain name in lower case"),
        (("warmup", "schedules", "x", 3, "cap"), "a whole number, at least 1"),
        (("filters", "spam", "reject_score"), "a number over 0, at most 1000"),
        (("filters", "spam", "enabled"), "true or false"),
        (("nothing", "like", "this"), "a value"),
    ],
)
def test_what_a_place_accepts_in_words(path: tuple[str | int, ...], words: str) -> None:
    schema = schema_of(FleetFile)
    data = {"dns": {"accounts": {"a": {"provider": "rfc2136" if len(path) == 4 else "?"}}}}
    assert phrase(schema, node_at(schema, path, data)).startswith(words)
