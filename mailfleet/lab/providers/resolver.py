"""DNS for the lab's mail programs: a lookup either answers, says "nothing there", or fails.

The difference between the last two is what makes `temperror` different from `none`, so they are
never mixed up: `Resolver.lookup` returns an empty tuple for the one and raises `DnsFailure` for
the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
import dns.reversename
from dns.rdtypes.ANY.TXT import TXT

# A chain of aliases longer than this is taken for a loop (BIND and unbound stop at 11 to 16).
MAX_ALIASES = 8


class DnsFailure(Exception):
    """The question could not be answered now: time-out, SERVFAIL, REFUSED, an alias loop."""


class MailExchanger(NamedTuple):
    """One MX: the lower preference is tried first; the host is without the trailing dot."""

    preference: int
    host: str


def split_endpoint(text: str, port: int) -> tuple[str, int]:
    """`ADDRESS` or `ADDRESS@PORT` (the form unbound and Knot use) as address and port.

    Raises ValueError when the address is not an IP address or the port not a number up to 65535.
    """
    address, at, number = text.partition("@")
    chosen = int(number) if at else port
    if not 0 <= chosen <= 65535:
        raise ValueError(f"{text}: a port is a number up to 65535")
    return str(ip_address(address)), chosen


class Resolver:
    """Asks the given servers (`ADDRESS[@PORT]`), or those of /etc/resolv.conf when none is given.

    `lifetime` is the longest a single lookup may take, in seconds. Nothing is cached: tests change
    records and expect the next message to be judged by them. Safe to use from several threads.
    """

    def __init__(self, servers: Iterable[str] = (), lifetime: float = 6.0) -> None:
        endpoints = [split_endpoint(server, 53) for server in servers]
        self._resolver = dns.resolver.Resolver(configure=not endpoints)
        if endpoints:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in endpoints
            ]
        self._resolver.lifetime = lifetime
        self._resolver.timeout = min(2.0, lifetime)
        self._resolver.use_edns(0, 0, 1232)
        self._resolver.cache = None

    def lookup(self, name: str, rdtype: str) -> tuple[dns.rdata.Rdata, ...]:
        """The records of that name and type, aliases followed; empty when there are none.

        A name that cannot exist (empty or over-long labels) has no records. Raises DnsFailure.
        """
        try:
            target = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return ()
        for _ in range(MAX_ALIASES):
            try:
                answer = self._resolver.resolve(
                    target, rdtype, raise_on_no_answer=False, search=False
                )
            except dns.resolver.NXDOMAIN:
                return ()
            except (dns.exception.DNSException, OSError) as error:
                raise DnsFailure(f"{name} {rdtype}: {error}") from error
            if answer.rrset is not None:
                return tuple(answer.rrset)
            if answer.canonical_name == target:
                return ()
            target = answer.canonical_name  # the alias leads out of the zone: ask again there
        raise DnsFailure(f"{name} {rdtype}: more than {MAX_ALIASES} aliases in a row")

    def texts(self, name: str) -> tuple[bytes, ...]:
        """The TXT records of a name, each as its joined bytes. Raises DnsFailure."""
        return tuple(
            b"".join(rdata.strings) for rdata in self.lookup(name, "TXT") if isinstance(rdata, TXT)
        )

    def addresses(self, name: str, families: Iterable[int] = (4, 6)) -> tuple[str, ...]:
        """The addresses of a host, in the order of `families`; an address is its own. Raises
        DnsFailure."""
        with suppress(ValueError):
            return (str(ip_address(name)),)
        types = {4: "A", 6: "AAAA"}
        return tuple(
            str(ip_address(rdata.to_text()))
            for family in families
            for rdata in self.lookup(name, types[family])
        )

    def pointers(self, address: str) -> tuple[str, ...]:
        """The names the PTR records of an address say, lower case. Raises DnsFailure."""
        owner = dns.reversename.from_address(address).to_text()
        return tuple(_host(rdata.to_text()) for rdata in self.lookup(owner, "PTR"))

    def exchangers(self, domain: str) -> tuple[MailExchanger, ...]:
        """The MX records by preference; a null MX has the host "". Raises DnsFailure."""
        found = (rdata.to_text().split() for rdata in self.lookup(domain, "MX"))
        return tuple(sorted(MailExchanger(int(number), _host(host)) for number, host in found))


def _host(text: str) -> str:
    return text.rstrip(".").lower()
