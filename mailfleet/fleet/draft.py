"""What could be read of a fleet directory, right or wrong: what the checks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.inventory import Entry
from mailfleet.fleet.model import Dns, DomainSettings, FleetFile, General, Host, Role
from mailfleet.fleet.source import Source, Where, subject_of
from mailfleet.fleet.types import DomainName


class Sections(FleetFile):
    """fleet.yml with every section optional, so that one may be missing or wrong."""

    fleet: General | None = None  # type: ignore[assignment]
    dns: Dns | None = None  # type: ignore[assignment]
    domains: dict[DomainName, DomainSettings] = Field(default={})


@dataclass(frozen=True)
class Draft:
    """A fleet directory in which anything may be missing or wrong.

    `hosts` has every entry of the inventories, with None for one that is no valid `Host`.
    `in_lab` is whether documentation addresses are real where we are. What is missing is no news
    where `file_complete` or `hosts_complete` is false: then a part could not be read.
    """

    directory: Path
    source: Source
    sections: Sections
    hosts: tuple[tuple[Entry, Host | None], ...]
    recipients: Mapping[str, tuple[str, ...]]
    in_lab: bool
    file_complete: bool = True
    hosts_complete: bool = True

    def declared(self, *where: str) -> tuple[str, ...]:
        """The keys at a place of fleet.yml, also of entries that are wrong in themselves."""
        value: Any = self.source.data
        for step in where:
            value = value.get(step) if isinstance(value, dict) else None
        return tuple(value) if isinstance(value, dict) else ()

    @cached_property
    def roles(self) -> Mapping[str, Role]:
        """Hostname to its role, the last one where it has two."""
        return {entry.name: entry.role for entry, _ in self.hosts}

    @cached_property
    def by_role(self) -> Mapping[Role, tuple[Entry, ...]]:
        """The hosts of each role."""
        return {
            role: tuple(entry for entry, _ in self.hosts if entry.role is role) for role in Role
        }

    def in_file(
        self,
        where: Where,
        found: str,
        accepted: str,
        hint: str = "",
        *,
        key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        """A problem of a place in fleet.yml."""
        subject, name = subject_of(where)
        line = self.source.line(where, key)
        return Problem(severity, self.source.file, line, subject, name, found, accepted, hint)

    def in_host(
        self,
        entry: Entry,
        name: str,
        found: str,
        accepted: str,
        hint: str = "",
        *,
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        """A problem of a host, at the line of the field where it is known."""
        origin = entry.where(name)
        return Problem(severity, origin.file, origin.line, entry.name, name, found, accepted, hint)
