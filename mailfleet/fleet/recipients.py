"""Recipient files: `recipients/DOMAIN` lists the valid recipients of a domain, one a line."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.source import Unreadable, read_text
from mailfleet.fleet.types import ATEXT
from mailfleet.fleet.validate import did_you_mean, shown, words

# RFC 5321, section 4.5.1, and RFC 2142: always accepted.
ALWAYS = ("postmaster", "abuse")
_LOCAL = re.compile(rf"{ATEXT}(\.{ATEXT})*")


def read_recipients(
    directory: Path, domains: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Domain to its valid addresses, sorted and in lower case, with postmaster@ and abuse@.

    A line is a local part or a whole address of that domain; `#` starts a comment line.
    """
    problems: list[Problem] = []
    recipients = {domain: _complete(domain, ()) for domain in domains}
    folder = directory / "recipients"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.name in recipients:
            addresses, more = _read(path)
            recipients[path.name] = _complete(path.name, addresses)
            problems += more
        else:
            problems.append(
                Problem(
                    Severity.ERROR,
                    f"recipients/{path.name}",
                    None,
                    path.name,
                    "",
                    "recipients of an unknown domain",
                    f"a file named after a domain of fleet.yml: {words(domains)}",
                    did_you_mean(path.name, domains),
                )
            )
    return recipients, problems


def _complete(domain: str, addresses: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted({*addresses, *(f"{local}@{domain}" for local in ALWAYS)}))


def _read(path: Path) -> tuple[tuple[str, ...], list[Problem]]:
    domain, file = path.name, f"recipients/{path.name}"
    try:
        text = read_text(path)
    except Unreadable as error:
        return (), [error.problem(file, domain)]
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        entry = raw.strip()
        if not entry or entry.startswith("#"):
            continue
        hint = _mistake(entry, domain)
        address = (entry if "@" in entry else f"{entry}@{domain}").lower()
        if hint is not None:
            accepted = f"a local part, or an address of {domain}"
            problems.append(
                Problem(Severity.ERROR, file, number, domain, "", shown(entry), accepted, hint)
            )
        elif address in lines:
            found = f"{address} again, first in line {lines[address]}"
            problems.append(
                Problem(Severity.WARNING, file, number, domain, "", found, "every address once")
            )
        else:
            lines[address] = number
    return tuple(lines), problems


def _mistake(entry: str, domain: str) -> str | None:
    """What is wrong with a line ('' where there is nothing to say), None when it is fine."""
    local, at, rest = entry.rpartition("@") if "@" in entry else (entry, "", domain)
    if local in ("", "*"):
        return "Accepting everything makes backscatter: list the addresses."
    if rest.lower() != domain:
        return f"Addresses of {rest} belong into recipients/{rest}." if at else ""
    if "#" in local and " " in local:
        return "A comment needs a line of its own."
    return None if _LOCAL.fullmatch(local) and len(local) <= 64 else ""
