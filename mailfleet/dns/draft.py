"""From what is desired, seen and ours to the changes of every zone: pure and deterministic.

Everything that no claim covers is copied into the result of a zone before it is compared, so it
cannot be deleted. What would be unsafe becomes a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dns.rdata
from dns.rdatatype import RdataType

from mailfleet.dns import safety
from mailfleet.dns.changes import Action, Change, ZoneChanges
from mailfleet.dns.claims import ALL_KINDS, Claim, Desired
from mailfleet.dns.errors import Refusal
from mailfleet.dns.ledger import Entry, Ledger
from mailfleet.dns.providers.base import World, ZoneView
from mailfleet.dns.records import Key, RRset, key_text, presentation

# The "zone" of claims that lie in no zone of the fleet: somebody else has to enter them.
NOT_OURS = ""


@dataclass(frozen=True)
class Options:
    """What the operator allows for one plan.

    `adopt`: RRsets to take over from whoever wrote them. `release`: RRsets of ours to leave as
    they are and forget. `allow_deletes`: RRsets that may go at most.
    """

    adopt: frozenset[Key] = frozenset()
    release: frozenset[Key] = frozenset()
    loosen_dmarc: bool = False
    allow_deletes: int = 10


@dataclass
class Draft:
    """The changes, and every reason why they must not happen."""

    zones: list[ZoneChanges] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draft(desired: Desired, world: World, ledger: Ledger, options: Options) -> Draft:
    """Plan every zone of `world`, which must hold the zone of every claim."""
    result = Draft()
    by_zone: dict[str, list[Claim]] = {}
    for claim in desired.claims:
        by_zone.setdefault(claim.zone or NOT_OURS, []).append(claim)
    for name in sorted({*world, *by_zone}, key=_reading_order):
        zone = _Zone(world[name], ledger.of(name), desired, options)
        changes = zone.plan(by_zone.get(name, []))
        result.refusals += zone.refusals
        if changes:
            view = world[name]
            result.zones.append(
                ZoneChanges(name, view.account, not view.capabilities.writes, tuple(changes))
            )
    for name in sorted(set(ledger.zones) - set(world)):
        result.notes.append(
            f"{name} is no zone of the fleet any more; the {len(ledger.of(name))} records written "
            "there are left as they are"
        )
    result.refusals += safety.whole(result.zones, options.allow_deletes)
    result.refusals += _unused(options, desired, ledger)
    return result


class _Zone:
    """The planning of one zone."""

    def __init__(
        self, view: ZoneView, entries: Mapping[Key, Entry], desired: Desired, options: Options
    ) -> None:
        self.view = view
        self.entries = entries
        self.desired = desired
        self.options = options
        self.refusals: list[Refusal] = []
        self.cuts = safety.Cuts(view)

    def plan(self, claims: Iterable[Claim]) -> list[Change]:
        """The changes in the order they are to be made; what is unsafe goes to `refusals`."""
        claimed = self._by_key(claims)
        changes = [c for claim in claimed.values() if (c := self._claim(claim)) is not None]
        if self.view.capabilities.writes:
            changes += self._unclaimed(claimed)
            for change in changes:
                loosen = self.options.loosen_dmarc
                self.refusals += safety.of_change(self.view.zone, change, self.desired, loosen)
        changes.sort(key=lambda change: change.order)
        return changes

    def _by_key(self, claims: Iterable[Claim]) -> dict[Key, Claim]:
        result: dict[Key, Claim] = {}
        for claim in claims:
            other = result.setdefault(claim.key, claim)
            if other.rrset != claim.rrset:
                self._refuse(
                    "conflict",
                    claim.key,
                    f"two claims want different values ({other.why}; {claim.why})",
                    "one RRset can have one owner",
                    "Rename the host or the domain, or give the address to one host only.",
                )
        return result

    def _claim(self, claim: Claim) -> Change | None:
        """The change that makes a claim true, or None."""
        key, found = claim.key, self.view.rrsets.get(claim.key)
        ttl = self.view.capabilities.ttl(claim.rrset.ttl)
        if found is None:
            self._in_the_way(claim)
            new = RRset(*key, ttl, claim.rrset.rdatas)
            return Change(Action.CREATE, key, None, new, claim.rrset.texts, claim.kind, claim.why)
        others: frozenset[dns.rdata.Rdata] = frozenset()
        if not claim.exclusive:
            others = frozenset(r for r in found.rdatas if not claim.takes_our_place(r))
        if others or ttl is None or not self.view.capabilities.writes:
            ttl = found.ttl  # not ours to say
        new = RRset(*key, ttl, claim.rrset.rdatas | others)
        if found == new and key not in self.options.adopt:
            return None
        return self._differs(claim, found, new)

    def _differs(self, claim: Claim, found: RRset, new: RRset) -> Change | None:
        """From what was found to what is wanted, if we may."""
        key, owned = claim.key, claim.rrset.texts
        entry = self.entries.get(key)
        ours = entry.ours if entry else frozenset()
        action = Action.ADOPT if key in self.options.adopt else Action.UPDATE
        known = ours.issuperset(owned)
        if found.rdatas == new.rdatas:
            # The same values. Where somebody else wrote them, the TTL is theirs until adopted.
            nothing_to_do = found.ttl == new.ttl if known else action is Action.UPDATE
            if nothing_to_do:
                return None
        foreign = [
            t for r in sorted(found.rdatas - new.rdatas) if (t := presentation(r)) not in ours
        ]
        if foreign and action is Action.UPDATE and self.view.capabilities.writes:
            self._foreign(claim, foreign)
            return None
        self._in_the_way(claim)
        return Change(action, key, found, new, owned, claim.kind, claim.why)

    def _unclaimed(self, claimed: Mapping[Key, Claim]) -> list[Change]:
        """What we wrote, want no more, and still is what we wrote."""
        changes = []
        kinds = {str(kind) for kind in self.desired.kinds}
        for key, entry in self.entries.items():
            if key in claimed or entry.kind not in kinds or safety.held(key, self.desired):
                continue
            found = self.view.rrsets.get(key)
            if found is None:
                continue
            mine = frozenset(r for r in found.rdatas if presentation(r) in entry.ours)
            if not mine:
                continue
            if key in self.options.release:
                why = "left as it is; mailfleet forgets that it wrote it"
                changes.append(Change(Action.RELEASE, key, found, found, (), entry.kind, why))
                continue
            rest = found.rdatas - mine
            new = RRset(*key, found.ttl, rest) if rest else None
            why = "we wrote it, and nothing in the fleet wants it any more"
            changes.append(Change(Action.DELETE, key, found, new, (), entry.kind, why))
        return changes

    def _foreign(self, claim: Claim, foreign: Iterable[str]) -> None:
        self._refuse(
            "foreign",
            claim.key,
            f"somebody else's value is in our place: {', '.join(foreign)}",
            f"wanted: {', '.join(claim.rrset.texts)} ({claim.why})",
            f"To replace it: --adopt {key_text(claim.key)}",
        )

    def _in_the_way(self, claim: Claim) -> None:
        what = self.cuts.above(claim.key)
        if what is not None:
            rule, found, remedy = what
            self._refuse(rule, claim.key, found, f"wanted here: {claim.why}", remedy)

    def _refuse(self, rule: str, key: Key, found: str, wanted: str, remedy: str) -> None:
        name, rdtype = key
        text = RdataType.to_text(rdtype)
        self.refusals.append(Refusal(rule, self.view.zone, name, text, found, wanted, remedy))


def _reading_order(zone: str) -> tuple[bool, bool, str]:
    """Forward zones, then reverse zones, then what has to be entered by hand."""
    return zone == NOT_OURS, zone.endswith(".arpa"), zone


def _unused(options: Options, desired: Desired, ledger: Ledger) -> list[Refusal]:
    """`--adopt` and `--release` that name nothing, most likely a slip of the pen."""
    claimed = {claim.key for claim in desired.claims}
    written = {key for entries in ledger.zones.values() for key in entries}
    partial = desired.kinds != ALL_KINDS
    refusals = []
    for key in sorted(options.adopt - claimed):
        refusals.append(
            Refusal(
                "usage",
                "",
                key[0],
                RdataType.to_text(key[1]),
                f"--adopt {key_text(key)} names nothing that the fleet claims"
                + (" with --only" if partial else ""),
                "accepted: the name and type of a claim",
                "`mailfleet dns show` lists them.",
            )
        )
    for key in sorted(options.release - (written - claimed)):
        refusals.append(
            Refusal(
                "usage",
                "",
                key[0],
                RdataType.to_text(key[1]),
                f"--release {key_text(key)} names "
                + ("a record the fleet wants" if key in claimed else "nothing that we wrote"),
                "accepted: a record in the ledger that the fleet wants no more",
                "Take it out of the fleet files first.",
            )
        )
    return refusals
