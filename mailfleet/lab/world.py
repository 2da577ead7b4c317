"""The rest of the lab's world: addresses that are neither a host nor a gateway."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from mailfleet.fleet import addresses
from mailfleet.fleet.model import IPAddress
from mailfleet.lab.providers.catalogue import PROVIDERS

CONTROL_NAME = "control.lab.test"
CONTROL = (addresses.CONTROL, IPv6Address("2001:db8:0:18::10"))
PACKAGES = IPv4Address("198.18.0.3")
PACKAGES_PORT = 3142
NAME_SERVERS = {
    "ns1.lab.test": (IPv4Address("198.18.0.53"), IPv6Address("2001:db8:0:18::53")),
    "ns2.lab.test": (IPv4Address("198.18.0.54"), IPv6Address("2001:db8:0:18::54")),
}
ACME_NAME = "acme.lab.test"
ACME = IPv4Address("198.18.0.14")
ACME_PORT = 14000
ACME_MANAGEMENT_PORT = 15000

WORLD_ADDRESSES: tuple[IPAddress, ...] = (
    *CONTROL,
    PACKAGES,
    ACME,
    *(address for pair in NAME_SERVERS.values() for address in pair),
    *(ip_address(text) for provider in PROVIDERS.values() for text in provider.addresses),
)
# Names of the world's own addresses, forward and reverse; the providers bring theirs.
NAMES: dict[str, tuple[IPAddress, ...]] = {
    CONTROL_NAME: CONTROL,
    ACME_NAME: (ACME,),
    **NAME_SERVERS,
}
