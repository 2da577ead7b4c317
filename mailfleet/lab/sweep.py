"""Taking a lab down, whatever state a crash left it in.

Nothing here trusts a record that a killed process may not have written: processes are found by
their marker and by the namespace they are in, mounts in the kernel's table, groups by their name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mailfleet.lab import cgroups, images, network, processes
from mailfleet.lab.layout import Layout

# What `down` removes; only these, so that a directory named by mistake loses nothing. The logs
# outlive it until `--purge`, to look at afterwards.
_MADE = ("home", "secrets", "hosts", "knot", "providers", "pebble.json", "lab.json")


@dataclass(frozen=True)
class Leftovers:
    """What of a lab is there on this machine."""

    processes: tuple[int, ...]
    mounts: tuple[Path, ...]
    groups: tuple[Path, ...]
    namespace: bool

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.groups or self.namespace)


def leftovers(lab: Layout) -> Leftovers:
    """Look, and change nothing."""
    return Leftovers(_processes(lab), _mounts(lab), cgroups.left(lab), network.is_up(lab))


def sweep(lab: Layout, report: Callable[[str], None]) -> None:
    """End and remove everything of a lab. Raises LabError when a process cannot be ended."""
    found = _processes(lab)
    if found:
        report(f"ending {len(found)} processes")
    while found:
        # Killing a container's init ends the container; new ones may have been forked meanwhile.
        processes.end(found, kill=True)
        found = _processes(lab)
    for mount in _mounts(lab):
        report(f"unmounting {mount}")
        subprocess.run(["umount", "--lazy", str(mount)], check=False, capture_output=True)
    cgroups.remove(lab)
    for leftover in Path("/run/systemd/nspawn").glob(f"*/*-{lab.id}"):
        shutil.rmtree(leftover, ignore_errors=True)
    if network.is_up(lab):
        report(f"removing network namespace {lab.namespace}")
    network.remove(lab)
    for name in _MADE:
        _delete(lab.directory / name)
    images.sweep(lab)


def purge(lab: Layout) -> None:
    """After `sweep`: the logs and the directory itself, unless it holds something of others."""
    _delete(lab.logs)
    lab.lock_file.unlink(missing_ok=True)
    with suppress(OSError):
        lab.directory.rmdir()


def _processes(lab: Layout) -> tuple[int, ...]:
    marked = {process.pid for process in processes.processes(lab)}
    return tuple(sorted((marked | set(processes.in_namespace(lab))) - {os.getpid()}))


def _mounts(lab: Layout) -> tuple[Path, ...]:
    """Mounts below the lab's directory, the deepest first."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        # Spaces and the like are octal escapes; a lab's directory has none (see layout).
        where = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[1]))
        if lab.directory in where.parents:
            found.append(where)
    return tuple(sorted(found, key=lambda path: len(path.parts), reverse=True))


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
