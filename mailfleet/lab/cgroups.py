"""A control group per host, so that hosts do not share one and none is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from mailfleet.lab.layout import Layout


def hierarchies() -> tuple[Path, ...]:
    """Where systemd keeps its groups: the unified hierarchy, and the named one of cgroup v1."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(where))
    return tuple(found)


def enter(lab: Layout, host: str) -> list[str]:
    """The command prefix that makes a host's groups and runs something in them."""
    groups = [str(path / f"mailfleet-{lab.id}" / host) for path in hierarchies()]
    script = 'while [ "$1" != -- ]; do mkdir -p "$1" && echo $$ > "$1/cgroup.procs"; shift; done; '
    return ["sh", "-c", script + 'shift; exec "$@"', "cgroup", *groups, "--"]


def remove(lab: Layout, host: str | None = None) -> None:
    """Remove the groups of a host, or all of the lab. Their processes must have ended."""
    for path in _groups(lab, host):
        # The kernel lets a group go a moment after its last process.
        for _ in range(100):
            try:
                path.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
            else:
                break


def left(lab: Layout) -> tuple[Path, ...]:
    """The groups of the lab that exist."""
    return tuple(_groups(lab, None))


def _groups(lab: Layout, host: str | None) -> Iterator[Path]:
    """Deepest first."""
    for hierarchy in hierarchies():
        top = hierarchy / f"mailfleet-{lab.id}"
        base = top / host if host else top
        if base.is_dir():
            below = [path for path in base.rglob("*") if path.is_dir()]
            yield from sorted(below, key=lambda path: len(path.parts), reverse=True)
            yield base
