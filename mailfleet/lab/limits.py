"""A limit of this machine's kernel that several systemds at once run into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# inotify(7) instances of all of root's processes. A host of the lab takes about ten; at Debian's
# 128, units of a third lab fail with "Too many open files".
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 1024


def raise_inotify(report: Callable[[str], None], path: Path = INOTIFY) -> None:
    """Raise the limit for the whole machine until its next boot; never lower it."""
    have = int(path.read_text())
    if have >= INSTANCES:
        return
    try:
        path.write_text(f"{INSTANCES}\n")
    except OSError as error:
        report(f"{path} stays at {have} ({error.strerror}): more than two labs may not fit")
    else:
        report(f"{path} raised from {have} to {INSTANCES}")
