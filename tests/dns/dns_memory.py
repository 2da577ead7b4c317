"""A provider in memory that misbehaves on command, for what is above the providers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from mailfleet.dns.changes import Change, applied
from mailfleet.dns.errors import Conflict, ProviderError
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key, RRset


class Killed(BaseException):
    """As if the process had died."""


class Memory:
    """Zones in memory. `faults` maps the number of a call (from 1) to what goes wrong there."""

    capabilities = Capabilities(atomic=True, compare_and_swap=True, batch=None, parallel=16)

    def __init__(self, zones: Mapping[str, Mapping[Key, RRset]]) -> None:
        self.zones = {zone: dict(rrsets) for zone, rrsets in zones.items()}
        self.calls: list[str] = []
        self.faults: dict[int, Callable[[str, str], None]] = {}
        self.after: dict[int, Callable[[str, str], None]] = {}
        self.ignore_writes = False
        self._lock = threading.Lock()

    def describe(self) -> str:
        return "memory"

    def read(self, zone: str, wanted: Collection[Key]) -> ZoneView:
        self._enter("read", zone)
        return ZoneView(zone, "memory", self.capabilities, dict(self.zones[zone]))

    def write(self, view: ZoneView, changes: Sequence[Change]) -> None:
        number = self._enter("write", view.zone)
        with self._lock:
            zone = self.zones[view.zone]
            if any(_data(zone.get(c.key)) != _data(c.old) for c in changes):
                raise Conflict(f"{view.zone} has moved")
            if not self.ignore_writes:
                self.zones[view.zone] = applied(zone, changes)
        if number in self.after:
            self.after[number]("write", view.zone)

    def _enter(self, what: str, zone: str) -> int:
        with self._lock:
            self.calls.append(f"{what} {zone}")
            number = len(self.calls)
        if number in self.faults:
            self.faults[number](what, zone)
        return number


def _data(rrset: RRset | None) -> frozenset[object]:
    return frozenset(rrset.rdatas) if rrset else frozenset()


def unknown(what: str, zone: str) -> None:
    raise ProviderError(f"{zone}: no answer to the {what}", unreachable=True, unknown=True)


def refused(what: str, zone: str) -> None:
    raise ProviderError(f"{zone}: the {what} is refused")


def conflict(what: str, zone: str) -> None:
    raise Conflict(f"{zone}: the serial has moved")


def kill(what: str, zone: str) -> None:
    raise Killed
