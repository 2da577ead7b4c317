"""The rest of the lab's world: addresses that are neither a host nor a gateway."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from mailfleet.fleet.model import IPAddress

CONTROL = (IPv4Address("198.18.0.10"), IPv6Address("2001:db8:0:18::10"))
PACKAGES = IPv4Address("198.18.0.3")
PACKAGES_PORT = 3142
NAME_SERVERS = {
    "ns1.lab.test": (IPv4Address("198.18.0.53"), IPv6Address("2001:db8:0:18::53")),
    "ns2.lab.test": (IPv4Address("198.18.0.54"), IPv6Address("2001:db8:0:18::54")),
}
ACME = (IPv4Address("198.18.0.14"), IPv6Address("2001:db8:0:18::14"))
PROVIDERS = {
    "google": (ip_address("198.18.1.25"), ip_address("2001:db8:0:18:1::25")),
    "microsoft": (ip_address("198.18.2.25"), ip_address("2001:db8:0:18:2::25")),
}

WORLD_ADDRESSES: tuple[IPAddress, ...] = (
    *CONTROL,
    PACKAGES,
    *(address for pair in NAME_SERVERS.values() for address in pair),
    *ACME,
    *(address for pair in PROVIDERS.values() for address in pair),
)
