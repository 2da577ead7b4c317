"""Carry out exactly the plan that was shown, or stop.

Before anything is written every zone is read again: an RRset that is neither what was planned on
nor already as planned stops everything. A run that was interrupted is simply run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailfleet.dns import ledger as ledgers
from mailfleet.dns.changes import Change, ZoneChanges
from mailfleet.dns.errors import Conflict, DnsError, Moved, PlanFileError, ProviderError
from mailfleet.dns.ledger import Ledger
from mailfleet.dns.observe import Providers, read
from mailfleet.dns.plan import Plan
from mailfleet.dns.providers.base import ZoneView
from mailfleet.dns.records import RRset, key_text

ATTEMPTS = 3  # a signing server may move the serial between reading and writing

Progress = Callable[[str], None]


@dataclass
class Applied:
    """Changes made by zone, changes found already made, and what failed."""

    written: dict[str, int] = field(default_factory=dict)
    already: int = 0
    failed: dict[str, DnsError] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failed

    def as_json(self) -> dict[str, Any]:
        return {
            "written": self.written,
            "already": self.already,
            "failed": {zone: str(error) for zone, error in sorted(self.failed.items())},
        }


def apply(plan: Plan, sources: Providers, directory: Path, progress: Progress) -> Applied:
    """Apply a plan; `directory` is the fleet directory, whose ledger is kept.

    Raises Moved (nothing was changed), ProviderError when a zone cannot be read, LedgerError.
    What fails while zones are written is in the result: other zones go on.
    """
    if plan.offline:
        raise PlanFileError(
            "This plan was made offline, against empty zones. Make one that has seen the zones: "
            "mailfleet dns plan --out FILE"
        )
    zones = {zone.zone: zone for zone in plan.zones if not zone.by_hand}
    if not zones:
        return Applied()
    with ledgers.locked(directory):
        views = read(sources, {name: [c.key for c in z.changes] for name, z in zones.items()})
        moved = [line for name, zone in zones.items() for line in _moved(zone, views[name])]
        if moved:
            raise Moved(moved)
        keeper = _Keeper(directory, ledgers.read(directory))
        for name, zone in zones.items():
            keeper.ledger = keeper.ledger.intending(name, zone.changes)
        keeper.save()
        result = Applied()

        def one(name: str) -> int:
            count, after = _zone(zones[name], sources, views[name])
            keeper.settle(name, zones[name].changes, after)
            progress(f"{name}: {_count(count)} made and read back")
            return count

        for name, outcome in sources.each(zones, one).items():
            if isinstance(outcome, DnsError):
                result.failed[name] = outcome
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                if outcome:
                    result.written[name] = outcome
                result.already += len(zones[name].changes) - outcome
        return result


class _Keeper:
    """The ledger while several zones are written at once."""

    def __init__(self, directory: Path, ledger: Ledger) -> None:
        self._directory, self.ledger = directory, ledger
        self._lock = threading.Lock()

    def save(self) -> None:
        ledgers.write(self._directory, self.ledger)

    def settle(self, zone: str, changes: tuple[Change, ...], after: ZoneView) -> None:
        rrsets = after.rrsets if after.complete else None
        with self._lock:
            self.ledger = self.ledger.settled(zone, changes, rrsets)
            self.save()


def _zone(zone: ZoneChanges, sources: Providers, view: ZoneView) -> tuple[int, ZoneView]:
    """Write one zone and read it back: how many changes were written, and the zone then."""
    provider = sources.of(zone.zone)
    keys = [change.key for change in zone.changes]
    written = 0
    for attempt in range(1, ATTEMPTS + 1):
        todo = [change for change in zone.changes if change.writes and not _done(change, view)]
        if not todo:
            return written, view
        try:
            provider.write(view, todo)
        except Conflict:
            if attempt == ATTEMPTS:
                raise
        except ProviderError as error:
            if not error.unknown:
                raise
            after = provider.read(zone.zone, keys)
            if not all(_done(change, after) for change in todo):
                raise
            return len(todo), after
        else:
            written = len(todo)
        view = provider.read(zone.zone, keys)
        if written:
            _check(zone, todo, view, provider.describe())
            return written, view
        moved = _moved(zone, view)
        if moved:
            raise Moved(moved)
    return written, view


def _check(zone: ZoneChanges, changes: list[Change], view: ZoneView, where: str) -> None:
    """The server said yes; is it so? (RFC 2136 lets a server ignore some changes in silence.)"""
    wrong = [change for change in changes if not _done(change, view)]
    if wrong:
        listed = "\n".join(
            f"  {key_text(c.key)}: wanted {_text(c.new)}, found {_text(view.rrsets.get(c.key))}"
            for c in wrong
        )
        raise ProviderError(
            f"{zone.zone}: {where} accepted the changes, but the zone does not have them:\n{listed}"
            "\nLook for a record of the same name that forbids them (a CNAME), or for somebody "
            "who writes the zone at the same time; then run it again."
        )


def _moved(zone: ZoneChanges, view: ZoneView) -> list[str]:
    """The RRsets that are neither what the plan saw nor what it wants."""
    return [
        f"{key_text(change.key)} in {zone.zone}: the plan saw {_text(change.old)}, "
        f"now it is {_text(view.rrsets.get(change.key))}"
        for change in zone.changes
        if not _done(change, view) and _values(view.rrsets.get(change.key)) != _values(change.old)
    ]


def _done(change: Change, view: ZoneView) -> bool:
    found = view.rrsets.get(change.key)
    if found is None or change.new is None:
        return found is change.new
    same_ttl = change.new.ttl is None or found.ttl == change.new.ttl
    return found.rdatas == change.new.rdatas and same_ttl


def _values(rrset: RRset | None) -> frozenset[object]:
    return frozenset(rrset.rdatas) if rrset else frozenset()


def _text(rrset: RRset | None) -> str:
    return ", ".join(rrset.texts) if rrset else "nothing"


def _count(number: int) -> str:
    return f"{number} change" + ("" if number == 1 else "s")
