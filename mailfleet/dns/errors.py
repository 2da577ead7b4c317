"""What can go wrong with DNS, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


class DnsError(Exception):
    """Base: the message names the subject, what was found and the remedy."""

    def as_json(self) -> dict[str, Any]:
        return {"error": str(self)}


@dataclass(frozen=True)
class Refusal:
    """One reason why a plan must not exist. `rule` is stable, for programs."""

    rule: str
    zone: str
    name: str
    rdtype: str
    found: str
    wanted: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.name} {self.rdtype}".strip()
        return f"{where}: {self.found}; {self.wanted}. {self.remedy}"


class Refused(DnsError):
    """The plan would be unsafe: `refusals` lists everything, not only the first."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(str(refusal) for refusal in self.refusals))

    def as_json(self) -> dict[str, Any]:
        return {"refused": [asdict(refusal) for refusal in self.refusals]}


class Moved(DnsError):
    """The world is no longer the one that was planned against; `what` names each RRset."""

    def __init__(self, what: Iterable[str]) -> None:
        self.what = tuple(what)
        listed = "\n".join(f"  {line}" for line in self.what)
        super().__init__(
            "the world has moved since the plan was made, so nothing was changed here:\n"
            f"{listed}\nMake a new plan: mailfleet dns plan"
        )

    def as_json(self) -> dict[str, Any]:
        return {"moved": list(self.what)}


class PlanFileError(DnsError):
    """A plan file that cannot be used: damaged, edited, or made for other fleet files."""


class LedgerError(DnsError):
    """The ledger cannot be read or written."""


class ProviderError(DnsError):
    """A provider's answer, or its silence.

    `unreachable` is true when nothing answered; `unknown` when a write may or may not have
    happened, so that only reading again can tell.
    """

    def __init__(self, message: str, *, unreachable: bool = False, unknown: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable
        self.unknown = unknown


class Conflict(ProviderError):
    """The server refused a write because what it would replace is no longer there."""
