"""What has to be done to a systemd unit; pure functions of its state and the files it reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mailfleet.hosts.facts import ServiceState
from mailfleet.hosts.files import File, digest

# `enable` is left out on the host when the unit, once systemd has read it anew, needs none.
Verb = Literal["daemon-reload", "enable", "disable", "restart", "reload", "stop"]


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


def start(state: ServiceState, wanted: Loaded, reload: bool) -> list[Verb]:
    """What systemctl has to do so that a unit runs what is on disk; nothing when it does."""
    verbs: list[Verb] = []
    unknown = state.load == "not-found" or state.needs_daemon_reload
    if unknown:
        verbs.append("daemon-reload")
    if unknown or state.enabled == "disabled":
        verbs.append("enable")
    if state.active not in ("active", "reloading") or state.needs_daemon_reload:
        return [*verbs, "restart"]
    if state.stamp is None:
        current = _older(wanted.watches, state)
        gentle = _older(wanted.restarts, state)
    else:
        watches, _, restarts = wanted.stamp.partition(" ")
        old_watches, _, old_restarts = state.stamp.partition(" ")
        current, gentle = old_watches == watches, old_restarts == restarts
    if current and gentle:
        return verbs
    return [*verbs, "reload" if reload and gentle else "restart"]


def stop(state: ServiceState) -> list[Verb]:
    """What systemctl has to do so that a unit is stopped for good; nothing when it is."""
    if state.load in ("not-found", "masked"):
        return []
    verbs: list[Verb] = []
    if state.enabled not in ("disabled", "static", ""):
        verbs.append("disable")
    if state.active not in ("inactive", "failed"):
        verbs.append("stop")
    return verbs


def _older(files: Iterable[File], state: ServiceState) -> bool:
    """Whether the unit was started after all of these files had last changed."""
    since = state.active_since
    return all(
        since is not None and file.path in state.changed and state.changed[file.path] < since
        for file in files
    )
