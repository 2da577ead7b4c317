"""What can be wrong with a fleet directory, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error stops every command; a warning none."""

    ERROR = "error"
    WARNING = "warning"


def printable(text: str) -> str:
    """Text that is safe on a terminal and in UTF-8: control characters and the like replaced."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it.

    `file` is relative to the fleet directory, `line` counts from 1 and is None where the file has
    no lines to speak of (a host that a function returned), `subject` is the host, domain, pool or
    section, `field` the path of the setting, `found` and `accepted` are phrases. `found` never
    holds a secret.
    """

    severity: Severity
    file: str
    line: int | None
    subject: str
    field: str
    found: str
    accepted: str
    hint: str = ""

    def __post_init__(self) -> None:
        # Names and values come from files: they must not move the cursor or break a line.
        for name in ("file", "subject", "field", "found", "accepted", "hint"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    @property
    def place(self) -> str:
        """`file:line`, the form that editors and terminals turn into a link."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    def __str__(self) -> str:
        subject = "" if self.subject == self.file else self.subject
        what = " ".join(part for part in (subject, self.field) if part)
        found = f"{what}: {self.found}" if what else self.found
        text = f"{self.place}: {self.severity}: {found}; accepted: {self.accepted}"
        return f"{text}. {self.hint}" if self.hint else text


class FleetError(Exception):
    """The fleet directory cannot be used as it is: `problems` says why, all of it at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SecretError(FleetError):
    """A secret reference that cannot be resolved. Its message never holds the secret."""
