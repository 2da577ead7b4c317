"""docs/fleet.md has every section and field of the model, required or with its default."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mailfleet.fleet.model import FleetFile, Host
from mailfleet.fleet.schema import schema_of

DOC = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()

# Model to the heading under which its table is. A new model needs a place here and there.
HEADINGS = {
    "FleetFile": "## fleet.yml",
    "General": "### fleet",
    "Acme": "### acme",
    "Dns": "### dns",
    "Rfc2136Account": "#### provider: rfc2136",
    "ManualAccount": "#### provider: manual",
    "Pool": "### pools",
    "DomainSettings": "### domains",
    "Spf": "#### domains: spf",
    "Dmarc": "#### domains: dmarc",
    "Warmup": "### warmup",
    "StageSpan": "### warmup",
    "Filters": "### filters",
    "Spam": "#### filters: spam",
    "Virus": "#### filters: virus",
    "Host": "## Inventories",
}


def models() -> dict[str, dict[str, object]]:
    schema = schema_of(FleetFile)
    return {"FleetFile": schema, **schema["$defs"], "Host": schema_of(Host)}


def rows(heading: str) -> dict[str, str]:
    """Field to its row, in the text between a heading and the next one."""
    start = DOC.index(f"\n{heading}\n") + len(heading) + 2
    text = re.split(r"^#+ ", DOC[start:], maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^(?=\| `(\w+)` \|)(.*)$", text, flags=re.MULTILINE))


def fields() -> list[tuple[str, str]]:
    return [
        (name, field)
        for name, model in models().items()
        if name not in ("Role",)
        for field in model["properties"]
    ]


@pytest.mark.parametrize(("model", "field"), fields())
def test_every_field_has_its_row(model: str, field: str) -> None:
    schema = models()[model]
    row = rows(HEADINGS[model])[field]
    setting = schema["properties"][field]
    from_its_file = model == "Host" and field in ("role", "region")
    if field in schema.get("required", ()):
        assert "required" in row or from_its_file
    else:
        default = setting["default"]
        nested = "$ref" in setting
        assert default is None or nested or json.dumps(default) in row or default == {}, row


def test_no_row_is_of_a_field_that_is_gone() -> None:
    known = {}
    for model, heading in HEADINGS.items():
        known.setdefault(heading, set()).update(models()[model]["properties"])
    for heading, names in known.items():
        assert set(rows(heading)) <= names, heading
