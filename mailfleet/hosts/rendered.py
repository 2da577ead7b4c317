"""Every file every host would get, written to a directory for review; no host is asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts.files import File
from mailfleet.hosts.roles import roles_of

MARKER = ".mailfleet-render"
MASK = "(a secret: only its host gets it)\n"


class DirectoryInUseError(Exception):
    """The directory holds something that mailfleet did not write."""


def files_of(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """The files of all roles of a host, sorted by path."""
    found = (file for role in roles_of(fleet, host) for file in role.files(fleet, host))
    return tuple(sorted(found, key=lambda file: file.path))


def write(fleet: Fleet, hosts: Sequence[Host], directory: Path) -> Iterator[tuple[Host, File]]:
    """Write DIRECTORY/<host>/<path> for every file; secrets are masked.

    Replaces what an earlier run wrote. Raises DirectoryInUseError when the directory exists, is
    not empty and is not one of ours.
    """
    wanted = [(host, file) for host in hosts for file in files_of(fleet, host)]
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / MARKER).is_file():
            raise DirectoryInUseError(
                f"{directory} is not empty and was not written by mailfleet render: "
                "name a new directory, or empty it"
            )
        for child in directory.iterdir():
            if child.name != MARKER:
                shutil.rmtree(child)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).write_text("Written by mailfleet render, which replaces it all.\n")
    for host, file in wanted:
        target = directory / host.name / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(MASK if file.secret else file.content)
        yield host, file
