"""One change of one RRset, and the changes of one zone, as values with a JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dns.rdatatype import RdataType

from mailfleet.dns.records import Key, RRset, sort_key


class Action(StrEnum):
    """`delete` takes away our values (others may stay); `adopt` and `release` say whose it is."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    RELEASE = "release"


# Order inside a zone: what others point at first, deletions last.
_RANK = {
    Action.CREATE: 0,
    Action.UPDATE: 0,
    Action.ADOPT: 0,
    Action.DELETE: 1,
    Action.RELEASE: 2,
}
_FIRST = (RdataType.A, RdataType.AAAA)


@dataclass(frozen=True, slots=True)
class Change:
    """From `old` to `new` (None: no RRset), both with other people's values in them.

    `owned` are the values, in presentation form, that are ours afterwards. When `old` equals `new`
    the zone itself stays as it is and only the ledger changes.
    """

    action: Action
    key: Key
    old: RRset | None
    new: RRset | None
    owned: tuple[str, ...]
    kind: str
    why: str

    @property
    def writes(self) -> bool:
        """Whether the zone has to be written, not only the ledger."""
        return self.old != self.new

    @property
    def order(self) -> tuple[int, int, list[str], str]:
        return (_RANK[self.action], self.key[1] not in _FIRST, *sort_key(self.key))

    def as_json(self) -> dict[str, Any]:
        return {
            "action": str(self.action),
            "name": self.key[0],
            "type": RdataType.to_text(self.key[1]),
            "old": self.old.as_json() if self.old else None,
            "new": self.new.as_json() if self.new else None,
            "owned": list(self.owned),
            "kind": self.kind,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Change:
        name, rdtype = value["name"], RdataType.from_text(value["type"])
        old, new = (
            RRset.from_json(name, rdtype, value[side]) if value[side] is not None else None
            for side in ("old", "new")
        )
        owned = tuple(value["owned"])
        action = Action(value["action"])
        return cls(action, (name, rdtype), old, new, owned, value["kind"], value["why"])


@dataclass(frozen=True, slots=True)
class ZoneChanges:
    """The changes of one zone in the order they are made. `by_hand`: nobody here can write it."""

    zone: str
    account: str
    by_hand: bool
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "zone": self.zone,
            "account": self.account,
            "by_hand": self.by_hand,
            "changes": [change.as_json() for change in self.changes],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ZoneChanges:
        changes = tuple(Change.from_json(change) for change in value["changes"])
        return cls(value["zone"], value["account"], value["by_hand"], changes)


def applied(rrsets: Mapping[Key, RRset], changes: Iterable[Change]) -> dict[Key, RRset]:
    """The RRsets of a zone as they are after the changes."""
    result = dict(rrsets)
    for change in changes:
        if change.new is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.new
    return result
