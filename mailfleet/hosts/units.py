"""What has to be done to a systemd unit; pure functions of its state and the files it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailfleet.hosts.facts import ServiceState
from mailfleet.hosts.files import File, digest


@dataclass(frozen=True)
class Loaded:
    """The configuration a unit ought to run: files a reload reads, and files that need more."""

    watches: tuple[File, ...]
    restarts: tuple[File, ...]

    @property
    def paths(self) -> list[str]:
        return sorted({file.path for file in (*self.watches, *self.restarts)})

    @property
    def stamp(self) -> str:
        """What /run/mailfleet/<unit>.digest says when the unit runs exactly this."""
        return f"{digest(self.watches)} {digest(self.restarts)}"


def start(unit: str, state: ServiceState, wanted: Loaded, reload: bool) -> list[str]:
    """The systemctl calls that bring a unit to run what is on disk; none when it does."""
    missing = state.load == "not-found"
    actions = ["daemon-reload"] if missing or state.needs_daemon_reload else []
    if missing or state.enabled == "disabled":
        actions.append(f"enable --quiet -- {unit}")
    if state.active not in ("active", "reloading") or state.needs_daemon_reload:
        return [*actions, f"restart -- {unit}"]
    if state.stamp is None:
        current = _older(wanted.watches, state)
        gentle = _older(wanted.restarts, state)
    else:
        watches, _, restarts = wanted.stamp.partition(" ")
        old_watches, _, old_restarts = state.stamp.partition(" ")
        current, gentle = old_watches == watches, old_restarts == restarts
    if current and gentle:
        return actions
    return [*actions, f"{'reload' if reload and gentle else 'restart'} -- {unit}"]


def stop(unit: str, state: ServiceState) -> list[str]:
    """The systemctl calls that stop a unit for good; none when it is stopped."""
    if state.load in ("not-found", "masked"):
        return []
    actions = []
    if state.enabled not in ("disabled", "static", ""):
        actions.append(f"disable --quiet -- {unit}")
    if state.active not in ("inactive", "failed"):
        actions.append(f"stop -- {unit}")
    return actions


def _older(files: Iterable[File], state: ServiceState) -> bool:
    """Whether the unit was started after all of these files had last changed."""
    since = state.active_since
    return all(
        since is not None and file.path in state.changed and state.changed[file.path] < since
        for file in files
    )
