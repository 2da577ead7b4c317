"""The files a role wants on a host, as plain values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

# Its presence on a host says that a whole deploy went through, so that it may be in service.
DEPLOYED = "/var/lib/mailfleet/deployed"

# What may stand in a path: it is put into shell commands and into `stat` output.
_PATH = re.compile(r"/[A-Za-z0-9._+@:=-][A-Za-z0-9._+@:=/-]*")
_MODE = re.compile(r"[0-7]{3,4}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]*")


@dataclass(frozen=True)
class File:
    """One file on a host.

    `content` is the whole text (UTF-8), `mode` the permission bits in octal. The content of a
    `secret` file is never printed, rendered to a directory or shown in a diff; `repr` leaves
    out the content of every file, because pyinfra prints arguments.

    Raises ValueError for a path, mode or account name that could not be written.
    """

    path: str
    content: str = field(repr=False)
    mode: str = "644"
    user: str = "root"
    group: str = "root"
    secret: bool = False

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path) or ".." in PurePosixPath(self.path).parts:
            raise ValueError(
                f"File path {self.path!r}: expected an absolute path of letters, digits and ._+@:=-"
            )
        if not _MODE.fullmatch(self.mode):
            raise ValueError(f"{self.path}: mode {self.mode!r}: expected octal digits such as 640")
        for account in (self.user, self.group):
            if not _ACCOUNT.fullmatch(account):
                raise ValueError(f"{self.path}: {account!r} is not a user or group name")

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def staged(self) -> str:
        """Where the new content waits, next to the target, until it has been validated."""
        path = PurePosixPath(self.path)
        return str(path.with_name(f".{path.name}.mailfleet-new"))


def digest(files: Iterable[File]) -> str:
    """One SHA-256 for a set of files: their paths, owners, modes and contents, in any order."""
    summary = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path):
        line = f"{file.path} {file.user} {file.group} {int(file.mode, 8):o} {file.sha256}\n"
        summary.update(line.encode())
    return summary.hexdigest()
