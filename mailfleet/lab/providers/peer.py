"""Reverse DNS of the sending host and its HELO name."""

from __future__ import annotations

from ipaddress import ip_address

from mailfleet.lab.providers.records import Peer
from mailfleet.lab.providers.resolver import DnsFailure, Resolver

# Like RFC 7208, 4.6.4 for its ptr mechanism: more names than this are not followed.
MAX_POINTERS = 10


def check_peer(resolver: Resolver, address: str, port: int, helo: str) -> Peer:
    """Forward-confirmed reverse DNS (RFC 8601, 3: iprev), and whether HELO says the same name."""
    family = ip_address(address).version
    name = helo.rstrip(".").lower()
    try:
        helo_resolves = address in resolver.addresses(name, (family,))
    except DnsFailure:
        helo_resolves = False
    try:
        pointers = resolver.pointers(address)
        confirmed = [
            pointer
            for pointer in pointers[:MAX_POINTERS]
            if address in resolver.addresses(pointer, (family,))
        ]
    except DnsFailure as failure:
        return Peer(
            address=address,
            port=port,
            helo=helo,
            reverse="temperror",
            helo_resolves=helo_resolves,
            reason=str(failure),
        )
    reason = ""
    if not pointers:
        reason = f"{address} has no PTR record"
    elif not confirmed:
        reason = f"none of {', '.join(pointers)} has the address {address}"
    return Peer(
        address=address,
        port=port,
        helo=helo,
        reverse="pass" if confirmed else "fail" if pointers else "none",
        ptr=name if name in confirmed else confirmed[0] if confirmed else None,
        pointers=pointers,
        helo_is_ptr=name in confirmed,
        helo_resolves=helo_resolves,
        reason=reason,
    )
