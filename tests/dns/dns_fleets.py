"""Small fleets and worlds for the DNS tests, built without files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dns.rdatatype import RdataType

from mailfleet.dns.claims import Desired, derive
from mailfleet.dns.draft import NOT_OURS, Draft, Options, draft
from mailfleet.dns.ledger import EMPTY, Ledger
from mailfleet.dns.observe import wanted
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key as RecordKey
from mailfleet.dns.records import RRset, rrset
from mailfleet.fleet.model import Fleet

# Two public keys that belong to nobody: their private halves were never kept.
PUBLIC_KEYS = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0kIa93DukeE+hRp0SfWv64R2aFFlTLkkZ3uB"
    "KdzR5BZh9bfXephTBELiUwtQk1u4qMc96rGzyTwAs9DtnSD3UvQ6Y19tfnV2LrQ7EuM9exDqQnuooy7q"
    "1uwVNDsDPg2XIZNTAPtXkBniNjMX+qlaDOvloNjKMKQI4C0M04R/mqF5UULAWpZsRiwHtkzdRAhGulnb"
    "i2Oe9/Vcdha67lmhUHBFmR3DKs3RjbTvf5Nw97toBTbekYmwJ6L70wMBI23UYLlu7r43U5YOWuHhmsft"
    "RR7GM19c9mH1wxiDXRBQCCXlnlKwaBvoH1f0RgTFg6iVyKUGZnvWD4Pj3oT2cw82VwIDAQAB",
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwDhZr3QcmigwgWUUthEQpQta2sy5kEziZaxF"
    "A1ed17mMLkM/0Q6OkogjlXElg4zH9N+sx8exS3mTNysvfC356BmHeu3NPq4S0t0s/e73NAOUxw6/NxkK"
    "rNUKvs3wgjlt/ygEX94lWBJLpFa4o3HnQBn//cxHEpIjLBK0XM+rvcdknO6l6gI3B9RwyCNj8q3l0kVX"
    "q1PEfXtWlkNoqPGjxFytaelRLZprVBw31yTstKcxynSuySiME9SgJKYAPQh7oaf5YP/XqI50hdOMtwFg"
    "nB4XaJHEptf0Tl3cjURANOKpgRJ/W45NTykJZLkauN0rWk6ilBpLcZv3F5iDNoY5owIDAQAB",
)

ZONES = ("example.net", "example.com", "100.51.198.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")

MTA1: dict[str, Any] = {
    "name": "mta1.eu.example.net",
    "role": "sender",
    "region": "eu",
    "ipv4": "198.51.100.10",
    "ipv6": "2001:db8:1::10",
    "pool": "bulk",
}
MTA2: dict[str, Any] = {
    "name": "mta2.eu.example.net",
    "role": "sender",
    "region": "eu",
    "ipv4": "198.51.100.11",
    "pool": "bulk",
}
MX1: dict[str, Any] = {
    "name": "mx1.eu.example.net",
    "role": "mx",
    "region": "eu",
    "ipv4": "198.51.100.25",
    "ipv6": "2001:db8:1::25",
}
MX2: dict[str, Any] = {
    "name": "mx1.us.example.net",
    "role": "backup_mx",
    "region": "us",
    "ipv4": "198.51.100.153",
}
COM: dict[str, Any] = {
    "name": "example.com",
    "pools": ["bulk"],
    "dmarc": {"policy": "quarantine", "rua": ["dmarc@example.com"]},
}


@dataclass(frozen=True)
class Key:
    """What DNS needs of a DKIM key."""

    selector: str
    public_key: str = PUBLIC_KEYS[0]
    state: str = "active"


KEYS = {"mta1.eu.example.net": (Key("mta1-eu-202611"),)}


def fleet(
    hosts: Sequence[Mapping[str, Any]] = (MTA1, MX1, MX2),
    domains: Sequence[Mapping[str, Any]] = (COM,),
    zones: Iterable[str] = ZONES,
    account: Mapping[str, Any] | None = None,
    directory: Path = Path("/nonexistent"),
) -> Fleet:
    """A fleet of those hosts and domains, all zones with one account."""
    known = account or {
        "provider": "rfc2136",
        "server": "127.0.0.1",
        "key_name": "mailfleet",
        "secret": "env:MAILFLEET_TEST_SECRET",
    }
    return Fleet.model_validate(
        {
            "directory": directory,
            "general": {
                "name": "test",
                "zone": "example.net",
                "contact": "postmaster@example.net",
                "management_networks": ["198.18.0.0/24"],
            },
            "acme": {},
            "dns": {"accounts": {"primary": known}, "zones": dict.fromkeys(zones, "primary")},
            "pools": {"bulk": {"schedule": "four-week", "target": 1000}},
            "domains": list(domains),
            "warmup": {},
            "filters": {},
            "hosts": list(hosts),
            "recipients": {},
        }
    )


def desired(*args: Any, keys: Mapping[str, Sequence[Key]] = KEYS, **kwargs: Any) -> Desired:
    """The claims of such a fleet."""
    return derive(fleet(*args, **kwargs), keys)


def records(*lines: str) -> dict[RecordKey, RRset]:
    """RRsets from lines `NAME TTL TYPE VALUE`."""
    values: dict[RecordKey, tuple[int, list[str]]] = {}
    for line in lines:
        name, ttl, rdtype, value = line.split(" ", 3)
        key = (name, RdataType.from_text(rdtype))
        values.setdefault(key, (int(ttl), []))[1].append(value)
    return {key: rrset(*key, ttl, texts) for key, (ttl, texts) in values.items()}


def apex(zone: str) -> dict[RecordKey, RRset]:
    """What every zone has."""
    return records(
        f"{zone} 600 SOA ns1.{zone}. hostmaster.{zone}. 1 3600 900 86400 300",
        f"{zone} 600 NS ns1.{zone}.",
    )


World = dict[str, ZoneView]


def world(want: Desired, ledger: Ledger = EMPTY, **others: Mapping[RecordKey, RRset]) -> World:
    """Zones with only an apex, and what `others` (zone name with _ for .) puts there."""
    extra = {name.replace("_", "."): rrsets for name, rrsets in others.items()}
    result = {}
    for zone in {*wanted(want, ledger), *extra}:
        writes = zone != NOT_OURS
        rrsets = {**(apex(zone) if writes else {}), **extra.get(zone, {})}
        capabilities = Capabilities(writes=writes, lists=writes)
        result[zone] = ZoneView(zone, "primary", capabilities, rrsets)
    return result


def planned(
    want: Desired, seen: World, ledger: Ledger = EMPTY, options: Options | None = None
) -> Draft:
    """The draft, with the deletion cap out of the way unless options are given."""
    return draft(want, seen, ledger, options or Options(allow_deletes=10_000))


def carried_out(seen: World, made: Draft, ledger: Ledger) -> tuple[World, Ledger]:
    """The world and the ledger after the draft, by a second, naive way of applying it."""
    after = dict(seen)
    for zone in made.zones:
        rrsets = dict(after[zone.zone].rrsets)
        for change in zone.changes:
            assert rrsets.get(change.key) == change.old
            rrsets.pop(change.key, None)
            if change.new is not None:
                rrsets[change.key] = change.new
        view = seen[zone.zone]
        after[zone.zone] = ZoneView(zone.zone, view.account, view.capabilities, rrsets)
        if not zone.by_hand:
            ledger = ledger.intending(zone.zone, zone.changes)
            ledger = ledger.settled(zone.zone, zone.changes, rrsets)
    return after, ledger
