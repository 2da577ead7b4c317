"""What a run changes, told by the operations to whoever started pyinfra.

pyinfra's own plan knows only operations, not files. When the environment variable
`MAILFLEET_CHANGES` names a file, every operation that finds a difference appends one JSON line
to it: in a dry run what would change, in a run what it is about to change.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

VARIABLE = "MAILFLEET_CHANGES"
Kind = Literal["package", "file", "service", "command"]


@dataclass(frozen=True)
class Change:
    """One thing that differs on one host; `diff` in unified format, empty for secrets."""

    host: str
    kind: Kind
    subject: str
    action: str
    diff: tuple[str, ...] = ()


def wanted() -> bool:
    """Whether anybody listens."""
    return bool(os.environ.get(VARIABLE))


def announce(kind: Kind, subject: str, action: str, lines: Sequence[str] = ()) -> None:
    """Tell of a difference on the host that pyinfra is working on."""
    target = os.environ.get(VARIABLE)
    if not target:
        return
    from pyinfra import context  # noqa: PLC0415 - only within pyinfra; the CLI reads this module

    change = Change(context.host.name, kind, subject, action, tuple(lines))
    with Path(target).open("a") as stream:
        stream.write(json.dumps(asdict(change)) + "\n")


def read(path: Path) -> tuple[Change, ...]:
    """The announced changes in order, each once; a torn last line is left out."""
    found: dict[Change, None] = {}
    for line in path.read_text().splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        found[Change(**{**values, "diff": tuple(values["diff"])})] = None
    return tuple(found)


def diff(path: str, old: str, new: str) -> tuple[str, ...]:
    """A unified diff without its header lines."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, "", "", 2, "")
    return tuple(lines)[2:]
