"""Secrets that are written into host data or group data, where they must never be.

pyinfra prints host data with `--debug`, inventories are in version control, and nothing of
mailfleet needs a secret there: it logs in with keys, and fleet.yml says where other secrets are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.execute import Origin

IN_CLEAR = "a secret in clear (not shown)"

_NAME = re.compile(
    r"password|passwd|passphrase|(^|_)pass(_|$)|secret|token|api_?key|private_?key", re.IGNORECASE
)
# Where a secret is, not the secret.
_PLACE = re.compile(r"_(file|path)$", re.IGNORECASE)
_DEEPEST = 8


def secrets_in_clear(subject: str, data: Mapping[str, tuple[Any, Origin]]) -> Iterator[Problem]:
    """An error for each key of some data, with its place, that holds a text that is a secret."""
    for name, (value, origin) in data.items():
        if _holds_secret(name, value):
            yield Problem(
                Severity.ERROR,
                origin.file,
                origin.line,
                subject,
                name,
                IN_CLEAR,
                "no secret in the data of hosts and groups",
                "Log in with ssh_key or the SSH agent, and let sudo ask for no password.",
            )


def _holds_secret(name: object, value: Any, depth: int = 0) -> bool:
    """Whether the name says that the value is a secret, or that of a value inside it does."""
    text = name if isinstance(name, str) else ""
    if _NAME.search(text) and not _PLACE.search(text):
        return _has_text(value, depth)
    if isinstance(value, dict) and depth < _DEEPEST:
        return any(_holds_secret(key, item, depth + 1) for key, item in value.items())
    if isinstance(value, (list, tuple)) and depth < _DEEPEST:
        return any(_holds_secret("", item, depth + 1) for item in value)
    return False


def _has_text(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return depth < _DEEPEST and any(_has_text(item, depth + 1) for item in value)
    return isinstance(value, (str, bytes)) and bool(value)
