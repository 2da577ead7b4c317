"""Small file helpers: everything the lab writes appears whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file atomically, with its mode from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content.encode() if isinstance(content, str) else content)
    staged.replace(path)


class Tree:
    """Writes into an overlay's upper directory as if the lower one were already below it.

    A directory made in the upper layer hides the lower one's mode and owner, so they are copied.
    """

    def __init__(self, upper: Path, lower: Path) -> None:
        self.upper = upper
        self.lower = lower

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write the file at the absolute `path` of the host."""
        relative = path.lstrip("/")
        self._parents(relative)
        write(self.upper / relative, content, mode)

    def append(self, path: str, content: str) -> None:
        """The lower layer's file with `content` after it."""
        below = self.lower / path.lstrip("/")
        self.write(path, below.read_text() + content, below.stat().st_mode & 0o7777)

    def _parents(self, relative: str) -> None:
        for parent in reversed(list(Path(relative).parents)[:-1]):
            made, model = self.upper / parent, self.lower / parent
            if made.is_dir():
                continue
            made.mkdir()
            if model.is_dir():
                shutil.copystat(model, made)
                status = model.stat()
                os.chown(made, status.st_uid, status.st_gid)


@contextmanager
def locked(
    path: Path, waiting: Callable[[], None] = lambda: None, *, wait: bool = True
) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel drops it when the process dies.

    `waiting` is called once when somebody else holds it; without `wait`, BlockingIOError is raised.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
