"""From a fleet directory to a `Fleet`, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from mailfleet.fleet.addresses import inside_lab
from mailfleet.fleet.checks import check
from mailfleet.fleet.checks.hosts import FIELDS
from mailfleet.fleet.draft import Draft, Sections
from mailfleet.fleet.errors import FleetError, Problem, Severity
from mailfleet.fleet.inventory import Entry, read_inventories
from mailfleet.fleet.model import Domain, Fleet, FleetFile, Host
from mailfleet.fleet.plaintext import IN_CLEAR
from mailfleet.fleet.recipients import read_recipients
from mailfleet.fleet.schema import phrase, schema_of
from mailfleet.fleet.source import Source, Unreadable, parse, read_text, subject_of
from mailfleet.fleet.types import IPAddress
from mailfleet.fleet.validate import validate

FILE = "fleet.yml"


def fleet_directory() -> Path:
    """The fleet directory in force: MAILFLEET_FLEET (the CLI sets it), else the working one."""
    return Path(os.environ.get("MAILFLEET_FLEET", ".")).resolve()


@lru_cache
def load(directory: Path, tell: Callable[[Problem], None] | None = None) -> Fleet:
    """The fleet of a directory, read once. Raises FleetError with all problems at once.

    `tell` gets each warning, when the files are read. Whether documentation addresses are real
    here is none of them: a command that would meet the network refuses them by itself.
    """
    fleet, problems = inspect(directory, in_lab=True)
    if fleet is None:
        raise FleetError(problem for problem in problems if problem.is_error)
    if tell is not None:
        for problem in problems:
            tell(problem)
    return fleet


def inspect(
    directory: Path, *, in_lab: bool | None = None
) -> tuple[Fleet | None, tuple[Problem, ...]]:
    """The fleet (None when there are errors) and every problem, errors and warnings, by place.

    `in_lab` is whether documentation addresses are real here; by default it is found out.
    Inventories and group data are executed; nothing is sent anywhere unless they do it.
    """
    directory = directory.absolute()
    missing = _no_fleet_file(directory)
    if missing is not None:
        return None, (missing,)
    if in_lab is None:
        in_lab = inside_lab()
    source = _read(directory)
    sections, problems = _sections(source)
    file_complete = not problems
    entries, more = read_inventories(directory)
    hosts_complete = not any(problem.is_error and problem.found != IN_CLEAR for problem in more)
    problems += more
    hosts = []
    for entry in entries:
        host, more = _host(entry)
        hosts.append((entry, host))
        problems += more
    declared = source.data.get("domains") if isinstance(source.data, dict) else None
    domains = tuple(declared) if isinstance(declared, dict) else ()
    recipients, more = read_recipients(directory, domains)
    draft = Draft(
        directory,
        source,
        sections,
        tuple(hosts),
        recipients,
        in_lab,
        file_complete,
        hosts_complete,
    )
    if isinstance(source.data, dict):
        problems += [*more, *check(draft)]
    ordered = _ordered(problems)
    if any(problem.is_error for problem in ordered):
        return None, ordered
    return _fleet(draft), ordered


def _no_fleet_file(directory: Path) -> Problem | None:
    """Why there is nothing to read at all."""
    path = directory / FILE
    if path.exists() or path.is_symlink():
        return None
    found, hint = f"no {FILE} in {directory}", ""
    if not directory.is_dir():
        found = f"{directory} is not a directory"
    elif (directory / "fleet.yaml").exists():
        hint = f"Rename fleet.yaml to {FILE}. "
    hint += "mailfleet init DIR writes a new fleet directory; --fleet DIR names an existing one."
    accepted = f"a fleet directory with {FILE} and inventories/"
    return Problem(Severity.ERROR, FILE, None, FILE, "", found, accepted, hint)


def _read(directory: Path) -> Source:
    try:
        return parse(read_text(directory / FILE), FILE)
    except Unreadable as error:
        return Source(FILE, problems=[error.problem(FILE)])


def _sections(source: Source) -> tuple[Sections, list[Problem]]:
    """What is right in fleet.yml, and what violates its schema."""
    problems = list(source.problems)
    if source.data is None:
        return Sections(), problems or [_not_sections(source)]
    if not isinstance(source.data, dict):
        return Sections(), [*problems, _not_sections(source)]
    sections, violations = validate(Sections, source.data)
    for violation in violations:
        subject, name = subject_of(violation.where)
        line = source.line(violation.where, violation.about_key)
        problems.append(
            Problem(
                Severity.ERROR,
                FILE,
                line,
                subject,
                name,
                violation.found,
                violation.accepted,
                violation.hint,
            )
        )
    schema = schema_of(FleetFile)
    for name in schema["required"]:
        if name not in source.data:
            node = schema["properties"][name]
            accepted, hint = phrase(schema, node), str(node["description"])
            problems.append(
                Problem(Severity.ERROR, FILE, 1, FILE, name, "no such section", accepted, hint)
            )
    return sections or Sections(), problems


def _not_sections(source: Source) -> Problem:
    accepted = f"sections: {', '.join(FleetFile.model_fields)}"
    return Problem(Severity.ERROR, FILE, 1, FILE, "", "no sections", accepted)


def _host(entry: Entry) -> tuple[Host | None, list[Problem]]:
    data = {name: _plain(value) for name, value in entry.data.items() if name in FIELDS}
    data |= {"name": entry.name, "role": entry.role.value, "region": entry.region}
    host, violations = validate(Host, data)
    problems = []
    for violation in violations:
        name = str(violation.where[0]) if violation.where else ""
        if name == "name":  # the check of names says it better
            continue
        origin = entry.where(name)
        found = violation.found
        if isinstance(data.get(name), list):
            found = f"a Python {type(entry.data[name]).__name__}"
        problems.append(
            Problem(
                Severity.ERROR,
                origin.file,
                origin.line,
                entry.name,
                name,
                found,
                violation.accepted,
                violation.hint,
            )
        )
    return host, problems


def _plain(value: Any) -> Any:
    """A value of host data as JSON has it; one of another kind as a list, which no field takes."""
    if isinstance(value, IPAddress):
        return str(value)
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    return []


def _ordered(problems: list[Problem]) -> tuple[Problem, ...]:
    """By file and line, fleet.yml first, each once."""
    return tuple(
        sorted(
            dict.fromkeys(problems),
            key=lambda p: (p.file != FILE, p.file, p.line or 0, not p.is_error, p.subject, p.field),
        )
    )


def _fleet(draft: Draft) -> Fleet:
    sections = draft.sections
    if sections.fleet is None or sections.dns is None:
        raise ValueError("a section is missing that was not reported")
    return Fleet(
        directory=draft.directory,
        general=sections.fleet,
        acme=sections.acme,
        dns=sections.dns,
        pools=sections.pools,
        domains=tuple(
            Domain(name=name, **dict(settings)) for name, settings in sections.domains.items()
        ),
        warmup=sections.warmup,
        filters=sections.filters,
        hosts=tuple(host for _, host in draft.hosts if host is not None),
        recipients=dict(draft.recipients),
    )
