"""References to secrets: files that are not there, or that others can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.model import FleetFile
from mailfleet.fleet.schema import node_at, schema_of
from mailfleet.fleet.secrets import open_to_others, path_of
from mailfleet.fleet.source import Where
from mailfleet.fleet.types import SECRET_PATTERN


def check(draft: Draft) -> Iterator[Problem]:
    """Every `file:` reference; what `env:` and `command:` give is only known when it is used."""
    schema = schema_of(FleetFile)
    for where, value in _texts(draft.source.data, ()):
        if node_at(schema, where, draft.source.data).get("pattern") != SECRET_PATTERN:
            continue
        path = path_of(value, draft.directory)
        if path is None:
            continue
        try:
            mode = open_to_others(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            yield draft.in_file(
                where,
                f"{value}: {why}",
                "a readable file",
                "A relative path starts at the fleet directory.",
                severity=Severity.WARNING,
            )
            continue
        if mode:
            found = f"{value} with mode {mode}: everybody on this machine may read it"
            yield draft.in_file(where, found, "mode 0600 or 0640", f"chmod 600 {path}")


def _texts(value: Any, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*where, index))
    elif isinstance(value, str):
        yield where, value
