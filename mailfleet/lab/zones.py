"""Which zones the lab's name servers hold when it starts, and what is in them.

The root delegates every zone directly and securely (NS and DS); a zone that lies in another one
of the list is delegated there. All zones are signed with one key, so the DS of a zone is known
before the server has started, and a zone added later changes no trust anchor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dns.dnssec
import dns.name
import dns.reversename
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from mailfleet.lab.providers.catalogue import PROVIDERS, Record
from mailfleet.lab.world import NAME_SERVERS, NAMES

# Reverse zones of the lab's ranges, held whether the fleet names them or not.
REVERSE = (
    "18.198.in-addr.arpa",
    "19.198.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
)
TTL = 3600
# Negative answers live short (RFC 2308), so that a record just published is soon seen.
SOA = "ns1.lab.test. hostmaster.lab.test. {serial} 3600 600 86400 5"


@dataclass(frozen=True)
class Zone:
    """One zone at its beginning. `name` has no trailing dot; the root is ""."""

    name: str
    records: tuple[Record, ...]

    def text(self, serial: int) -> str:
        """The zone file (RFC 1035, 5)."""
        apex = f"{self.name}."
        lines = [f"$TTL {TTL}", f"{apex} 60 SOA {SOA.format(serial=serial)}"]
        lines += [f"{apex} NS {server}." for server in NAME_SERVERS]
        lines += [f"{name} {rdtype} {value}" for name, rdtype, value in self.records]
        return "\n".join(lines) + "\n"


def names(fleet_zones: Iterable[str]) -> tuple[str, ...]:
    """Every zone of the lab for a fleet that has these zones, the root first."""
    others = ["lab.test", *REVERSE, *(z for p in PROVIDERS.values() for z in p.zones)]
    return ("", *dict.fromkeys([*fleet_zones, *others]))


def build(fleet_zones: Sequence[str], key: DNSKEY) -> tuple[Zone, ...]:
    """The zones, the root first."""
    all_names = names(fleet_zones)
    forward = {zone for zone in fleet_zones if not zone.endswith(".arpa")}
    records: dict[str, list[Record]] = {name: [] for name in all_names}
    for zone in forward:
        records[zone] += _foreign(zone)
    world = [r for p in PROVIDERS.values() for r in p.records]
    pointers = [(a, host) for p in PROVIDERS.values() for a, host in p.pointers.items()]
    for host, addresses in NAMES.items():
        for address in addresses:
            world.append(Record(f"{host}.", "A" if address.version == 4 else "AAAA", str(address)))
            pointers.append((str(address), host))
    for text, host in pointers:
        world.append(Record(str(dns.reversename.from_address(text)), "PTR", f"{host}."))
    for record in world:
        records[enclosing(record.name.rstrip("."), all_names)].append(record)
    for name in all_names[1:]:
        parent = enclosing(name.partition(".")[2], all_names)
        records[parent] += delegation(name, key)
    for host, addresses in NAME_SERVERS.items():
        # Glue: without it nobody finds the servers of lab.test.
        for address in addresses:
            rdtype = "A" if address.version == 4 else "AAAA"
            records[""].append(Record(f"{host}.", rdtype, str(address)))
    return tuple(Zone(name, tuple(records[name])) for name in all_names)


def enclosing(name: str, zones: Iterable[str]) -> str:
    """The zone a name lies in: the longest suffix, or "" for the root."""
    known = set(zones)
    while name and name not in known:
        name = name.partition(".")[2]
    return name


def delegation(zone: str, key: DNSKEY) -> list[Record]:
    """What the parent says about a zone."""
    ds = dns.dnssec.make_ds(dns.name.from_text(zone), key, "SHA256")
    servers = [Record(f"{zone}.", "NS", f"{server}.") for server in NAME_SERVERS]
    return [*servers, Record(f"{zone}.", "DS", ds.to_text())]


def root_hints() -> str:
    """root.hints as dns-root-data ships it, for the lab's root."""
    lines = []
    for host, addresses in NAME_SERVERS.items():
        lines.append(f". 3600000 NS {host}.")
        for address in addresses:
            lines.append(f"{host}. 3600000 {'A' if address.version == 4 else 'AAAA'} {address}")
    return "\n".join(lines) + "\n"


def trust_anchor(key: DNSKEY) -> Mapping[str, str]:
    """The root's key and DS, in the forms of root.key and root.ds of dns-root-data."""
    ds = dns.dnssec.make_ds(dns.name.root, key, "SHA256")
    return {"key": f". 172800 IN DNSKEY {key.to_text()}\n", "ds": f". IN DS {ds.to_text()}\n"}


def _foreign(zone: str) -> list[Record]:
    """What somebody else keeps in a fleet's zone, and no plan of ours may touch."""
    return [
        Record(f"{zone}.", "TXT", f'"site-verification=lab-{zone.replace(".", "-")}"'),
        Record(f"www.{zone}.", "A", "198.18.0.80"),
        Record(f"shop.{zone}.", "CNAME", f"www.{zone}."),
    ]
