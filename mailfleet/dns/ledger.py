"""What we last wrote, by zone, name and type: `<fleet>/state/dns-ledger.json`.

DNS servers keep no note of who wrote a record, so the fleet directory does. A value is ours when
the ledger holds it; nothing else is ever deleted. Before a zone is written its new values are
noted as `pending`, so a run that was killed after the write still knows them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailfleet.dns.changes import Change
from mailfleet.dns.errors import LedgerError
from mailfleet.dns.records import Key, RRset, key_from_text, key_text, sort_key

VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """Our values of one RRset, in presentation form."""

    kind: str
    values: frozenset[str] = frozenset()
    pending: frozenset[str] = frozenset()

    @property
    def ours(self) -> frozenset[str]:
        return self.values | self.pending if self.pending else self.values

    def as_json(self) -> dict[str, Any]:
        pending = {"pending": sorted(self.pending)} if self.pending else {}
        return {"kind": self.kind, "values": sorted(self.values), **pending}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Entry:
        return cls(value["kind"], frozenset(value["values"]), frozenset(value.get("pending", ())))


@dataclass(frozen=True)
class Ledger:
    """Zone to RRset to what is ours in it."""

    zones: Mapping[str, Mapping[Key, Entry]]

    def of(self, zone: str) -> Mapping[Key, Entry]:
        return self.zones.get(zone, {})

    def intending(self, zone: str, changes: Iterable[Change]) -> Ledger:
        """Before the write: the values that are about to be ours as well."""
        entries = dict(self.of(zone))
        for change in changes:
            before = entries.get(change.key, Entry(change.kind))
            pending = frozenset(change.owned) - before.values
            entries[change.key] = replace(before, kind=change.kind, pending=pending)
        return self._with(zone, entries)

    def settled(
        self, zone: str, changes: Iterable[Change], rrsets: Mapping[Key, RRset] | None
    ) -> Ledger:
        """After the write: what is ours and, where the zone was read (`rrsets`), still there."""
        entries = dict(self.of(zone))
        for change in changes:
            entries[change.key] = Entry(change.kind, frozenset(change.owned))
        if rrsets is not None:
            for key, entry in entries.items():
                found = rrsets.get(key)
                there = entry.ours.intersection(found.texts) if found else frozenset()
                if there != entry.values or entry.pending:
                    entries[key] = Entry(entry.kind, there)
        return self._with(zone, {key: entry for key, entry in entries.items() if entry.ours})

    def _with(self, zone: str, entries: Mapping[Key, Entry]) -> Ledger:
        zones = {**self.zones, zone: entries}
        return Ledger({name: known for name, known in zones.items() if known})

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "zones": {
                zone: {
                    key_text(key): entry.as_json()
                    for key, entry in sorted(entries.items(), key=lambda item: sort_key(item[0]))
                }
                for zone, entries in sorted(self.zones.items())
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        if value["version"] != VERSION:
            raise ValueError(f"version {value['version']}, this mailfleet reads {VERSION}")
        return cls(
            {
                zone: {key_from_text(key): Entry.from_json(entry) for key, entry in entries.items()}
                for zone, entries in value["zones"].items()
            }
        )


EMPTY = Ledger({})


def path_of(directory: Path) -> Path:
    """Where a fleet directory keeps its ledger."""
    return directory / "state" / "dns-ledger.json"


def read(directory: Path) -> Ledger:
    """The ledger, empty when there is none yet. Raises LedgerError when it cannot be read."""
    path = path_of(directory)
    try:
        return Ledger.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return EMPTY
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerError(
            f"{path} is damaged ({error}). Take it back from version control; without it "
            "mailfleet does not know which records are its own and deletes none."
        ) from error


def write(directory: Path, ledger: Ledger) -> None:
    """Replace the ledger, all or nothing. Raises LedgerError."""
    path = path_of(directory)
    staged = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("w") as file:
            json.dump(ledger.as_json(), file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise LedgerError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Only one apply a fleet directory at a time. Raises LedgerError when another one runs."""
    path = path_of(directory).parent
    try:
        path.mkdir(parents=True, exist_ok=True)
        state = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise LedgerError(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                "Another mailfleet writes DNS for this fleet right now. Wait until it is done; "
                "nothing was changed."
            ) from None
        yield
    finally:
        os.close(state)
