"""The rules that keep a plan from doing harm, each by what a record means for mail."""

from __future__ import annotations

from collections.abc import Iterable

from dns.rdatatype import RdataType

from mailfleet.dns.changes import Action, Change, ZoneChanges
from mailfleet.dns.claims import Desired
from mailfleet.dns.errors import Refusal
from mailfleet.dns.providers.base import ZoneView
from mailfleet.dns.records import Key, RRset, key_text, txt_text

_STRICTNESS = {"none": 0, "quarantine": 1, "reject": 2}


class Cuts:
    """Names of a zone below or at which our records would not be answered."""

    def __init__(self, view: ZoneView) -> None:
        self._zone = view.zone
        self._at = {name: rrset for (name, t), rrset in view.rrsets.items() if t is RdataType.CNAME}
        self._below: dict[str, RRset] = {}
        for (name, rdtype), rrset in view.rrsets.items():
            if rdtype is RdataType.DNAME or (rdtype is RdataType.NS and name != view.zone):
                self._below[name] = rrset

    def above(self, key: Key) -> tuple[str, str, str] | None:
        """Rule, finding and remedy when a CNAME, a DNAME or a delegation is in the way."""
        name, rdtype = key
        if rdtype is not RdataType.CNAME and name in self._at:
            target = self._at[name].texts[0]
            return (
                "cname",
                f"{name} is a CNAME to {target}, which no other record may stand beside (RFC 1034)",
                "Remove the CNAME where it was made, or use another name.",
            )
        while self._below and name and name != self._zone:
            cut = self._below.get(name)
            if cut is not None:
                kind = RdataType.to_text(cut.rdtype)
                return (
                    "delegation",
                    f"{name} has {kind} records ({', '.join(cut.texts)}), so this zone does not "
                    f"answer for what lies below",
                    f"Add the zone {name} to dns.zones with the account that holds it.",
                )
            name = name.partition(".")[2]
        return None


def held(key: Key, desired: Desired) -> bool:
    """Whether it is a selector of a host whose keys are not recorded: it may sign with it."""
    selector = _selector(key) if desired.held else None
    return selector is not None and selector.startswith(desired.held)


def of_change(zone: str, change: Change, desired: Desired, loosen: bool) -> list[Refusal]:
    """The reasons against one change."""
    refusals = []

    def refuse(rule: str, found: str, wanted: str, remedy: str) -> None:
        name, rdtype = change.key
        text = RdataType.to_text(rdtype)
        refusals.append(Refusal(rule, zone, name, text, found, wanted, remedy))

    name, rdtype = change.key
    if change.writes and name == zone and rdtype in (RdataType.NS, RdataType.SOA):
        refuse(
            "apex",
            "the plan would change what makes the zone a zone",
            "mailfleet never writes the NS and SOA records of an apex",
            "Take the record out of state/dns-ledger.json.",
        )
    if change.action is Action.DELETE and change.new is None and rdtype is RdataType.MX:
        refuse(
            "last-mx",
            "the plan would delete the last MX, and mail would go to the A record or bounce",
            "the last MX of a name is never deleted",
            f"To leave it and forget it: --release {key_text(change.key)}; delete it by hand once "
            f"nobody writes to {name}.",
        )
    if change.action is Action.DELETE and (selector := _selector(change.key)) in desired.signing:
        refuse(
            "signing",
            f"a host signs with the selector {selector}, so mail on its way would fail DKIM",
            "the key of a host that signs is never deleted",
            "Retire the key first, or leave the record and forget it: "
            f"--release {key_text(change.key)}",
        )
    if name.startswith("_dmarc.") and rdtype is RdataType.TXT and not loosen:
        before, after = _dmarc(change.old), _dmarc(change.new)
        if any(b > a for b, a in zip(before, after, strict=True)):
            refuse(
                "loosen-dmarc",
                f"the policy would be loosened: {_texts(change.old)} becomes {_texts(change.new)}",
                "a DMARC policy is not loosened by accident",
                "If it is meant: --loosen-dmarc",
            )
    return refusals


def whole(zones: Iterable[ZoneChanges], allowed: int) -> list[Refusal]:
    """The reasons against all changes together: too many deletions."""
    names = [
        key_text(change.key)
        for zone in zones
        for change in zone.changes
        if change.action is Action.DELETE
    ]
    if len(names) <= allowed:
        return []
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return [
        Refusal(
            "deletes",
            "",
            "",
            "",
            f"{len(names)} deletions, {allowed} are allowed: {shown}",
            "a fleet file that lost a part must not empty a zone",
            f"If all of them are meant: --allow-deletes {len(names)}",
        )
    ]


def _selector(key: Key) -> str | None:
    selector, mark, _ = key[0].partition("._domainkey.")
    return selector if mark and key[1] is RdataType.TXT else None


def _dmarc(rrset: RRset | None) -> tuple[int, int]:
    """Strictness for the domain and for its subdomains. Only the two tags; checking is lint's."""
    texts = [txt_text(r) for r in rrset.rdatas] if rrset else []
    records = [text for text in texts if text.lower().replace(" ", "").startswith("v=dmarc1")]
    if len(records) != 1:
        return 0, 0  # receivers ignore the policy then (RFC 7489 section 6.6.3)
    pairs = (part.partition("=") for part in records[0].split(";"))
    tags = {tag.strip().lower(): value.strip().lower() for tag, _, value in pairs}
    policy = tags.get("p", "none")
    return _STRICTNESS.get(policy, 0), _STRICTNESS.get(tags.get("sp", policy), 0)


def _texts(rrset: RRset | None) -> str:
    return ", ".join(rrset.texts) if rrset else "nothing"
