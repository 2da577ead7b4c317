"""A plan: exactly what will change, as a value with a JSON form and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dns.rdatatype import RdataType

from mailfleet.dns.changes import Change, ZoneChanges
from mailfleet.dns.claims import Desired
from mailfleet.dns.errors import PlanFileError

VERSION = 1


@dataclass(frozen=True)
class Plan:
    """The changes of every zone that has any, zones in the order of their names.

    `claims` is the digest of the desired state it was made for, `only` the part of it that was
    planned. `offline`: made against empty zones, for reading, not for applying. `waiting`: senders
    whose DKIM key is not known yet. `notes`: what the reader should know and need not act on.
    """

    fleet: str
    claims: str
    only: str | None
    offline: bool
    zones: tuple[ZoneChanges, ...]
    waiting: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes mailfleet makes itself."""
        return tuple(c for zone in self.zones if not zone.by_hand for c in zone.changes)

    @property
    def by_hand(self) -> tuple[Change, ...]:
        """The changes that a person has to make at a provider."""
        return tuple(c for zone in self.zones if zone.by_hand for c in zone.changes)

    @property
    def sha256(self) -> str:
        """Digest of the canonical JSON form: equal plans have equal digests."""
        return digest(self._body())

    def _body(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "fleet": self.fleet,
            "claims": self.claims,
            "only": self.only,
            "offline": self.offline,
            "zones": [zone.as_json() for zone in self.zones],
            "waiting": list(self.waiting),
            "notes": list(self.notes),
        }

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the digest."""
        body = self._body()
        return {**body, "sha256": digest(body)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """The plan that `as_json` gave.

        Raises PlanFileError when it is no plan or was changed after it was made.
        """
        try:
            if value["version"] != VERSION:
                raise PlanFileError(
                    f"This is a plan of version {value['version']}; this mailfleet reads version "
                    f"{VERSION}. Make a new one: mailfleet dns plan --out FILE"
                )
            plan = cls(
                fleet=value["fleet"],
                claims=value["claims"],
                only=value["only"],
                offline=value["offline"],
                zones=tuple(ZoneChanges.from_json(zone) for zone in value["zones"]),
                waiting=tuple(value["waiting"]),
                notes=tuple(value["notes"]),
            )
            expected = value["sha256"]
        except PlanFileError:
            raise
        except Exception as error:  # whatever a damaged file makes a parser raise
            raise PlanFileError(
                f"This is not a plan ({type(error).__name__}: {error}). "
                "Make one: mailfleet dns plan --out FILE"
            ) from error
        if plan.sha256 != expected:
            raise PlanFileError(
                f"The plan was changed after it was made: its content has the digest "
                f"{plan.sha256[:12]}, it says {str(expected)[:12]}. Make a new one: "
                "mailfleet dns plan --out FILE"
            )
        return plan


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON form of plain data, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def claims_digest(desired: Desired) -> str:
    """Digest of what is desired, to notice that fleet files changed after a plan was made."""
    whole = hashlib.sha256()
    for claim in desired.claims:
        name, rdtype = claim.key
        parts = (claim.zone or "", name, RdataType.to_text(rdtype), claim.slot)
        line = "\t".join((*parts, str(claim.rrset.ttl), *claim.rrset.texts))
        whole.update(line.encode() + b"\n")
    return whole.hexdigest()
