"""Which addresses are public, which are documentation, and which exist only inside the lab."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

from mailfleet.fleet.types import IPAddress

# What the lab makes real inside its namespace: RFC 5737, RFC 2544 and RFC 3849.
LAB_NETWORKS = tuple(
    ip_network(text) for text in ("198.51.100.0/24", "198.18.0.0/15", "2001:db8::/32")
)
# All that stand for addresses in examples; 3fff::/20 is RFC 9637.
EXAMPLE_NETWORKS = (
    *LAB_NETWORKS,
    *(ip_network(text) for text in ("192.0.2.0/24", "203.0.113.0/24", "3fff::/20")),
)
# The lab's control machine, on which every command that touches a host or a server runs.
CONTROL = IPv4Address("198.18.0.10")


def inside_lab() -> bool:
    """Whether this process runs on the lab's control machine.

    MAILFLEET_LAB=1, which `mailfleet lab run` sets, is not believed alone: set by mistake on
    another machine, it would send traffic to whoever answers at documentation addresses there.
    """
    return os.environ.get("MAILFLEET_LAB") == "1" and is_ours(CONTROL)


def is_ours(address: IPAddress) -> bool:
    """Whether an address is one of this machine's, or of this network namespace's."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def in_lab(address: IPAddress) -> bool:
    """Whether an address exists only inside the lab."""
    return any(address in network for network in LAB_NETWORKS)


def is_example(address: IPAddress) -> bool:
    """Whether an address is for documentation or benchmarks, never for the Internet."""
    return any(address in network for network in EXAMPLE_NETWORKS)


def why_not_public(address: IPAddress) -> str:
    """What makes an address useless to the world ('a private address'), '' when it is public.

    Follows the IANA special-purpose registries as Python's `ipaddress` knows them.
    """
    kinds = (
        (isinstance(address, IPv6Address) and address.ipv4_mapped is not None, "IPv4-mapped"),
        (address.is_unspecified, "unspecified"),
        (address.is_loopback, "loopback"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
        (not address.is_global and not address.is_private, "shared (carrier NAT)"),
        (address.is_private, "private or reserved"),
    )
    return next((f"a {kind} address" for applies, kind in kinds if applies), "")
