"""The authoritative name servers of a zone, every address of them, and what each one answers."""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.resolver
from dns.rdatatype import RdataType

from mailfleet.dns.errors import DnsError
from mailfleet.dns.records import RRset, canonical, canonical_name

TIMEOUT = 3.0  # seconds for one question
TRIES = 2

Status = Literal["answer", "nothing", "lame", "silent", "no-route"]


class NoServers(DnsError):
    """The name servers of a zone cannot be found."""


@dataclass(frozen=True, order=True)
class Server:
    """One address of one name server."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


@dataclass(frozen=True)
class Answer:
    """What a server says about one name and type.

    `answer` has an RRset; `nothing`: the name or type does not exist; `lame`: the server does not
    answer for the zone; `silent`: no answer in time; `no-route`: this machine cannot reach such
    addresses, which says nothing about the server. `reason` is for people.
    """

    status: Status
    rrset: RRset | None = None
    reason: str = ""


class Authorities:
    """Finds and asks authoritative servers. `resolver` finds them; they are asked at `port`.

    Safe to use from several threads. What was found is kept for the life of the object.
    """

    def __init__(
        self,
        resolver: dns.resolver.Resolver | None = None,
        port: int = 53,
        timeout: float = TIMEOUT,
    ) -> None:
        self._resolver = resolver
        self._port, self._timeout = port, timeout
        self._zones: dict[str, tuple[Server, ...]] = {}
        self._lock = threading.Lock()

    def zone_of(self, name: str) -> str:
        """The zone a name lies in. Raises NoServers."""
        try:
            zone = dns.resolver.zone_for_name(_name(name), resolver=self._ask(), lifetime=15.0)
        except (dns.exception.DNSException, OSError) as error:
            raise NoServers(
                f"{name}: no zone was found for it: {_why(error)}. Check /etc/resolv.conf and the "
                "delegation."
            ) from error
        return canonical_name(zone)

    def of(self, zone: str) -> tuple[Server, ...]:
        """Every address of every name server: those the zone names and those the parent names.

        Raises NoServers.
        """
        with self._lock:
            known = self._zones.get(zone)
        if known is None:
            known = self._find(zone)
            with self._lock:
                self._zones[zone] = known
        return known

    def ask(self, server: Server, name: str, rdtype: RdataType) -> Answer:
        """What one server answers, without recursion."""
        query = dns.message.make_query(_name(name), rdtype, use_edns=0, payload=1232)
        query.flags &= ~dns.flags.RD
        reason = ""
        for _ in range(TRIES):
            try:
                response, _ = dns.query.udp_with_fallback(
                    query, server.address, timeout=self._timeout, port=self._port
                )
            except dns.exception.Timeout:
                reason = f"no answer within {self._timeout:g} s"
            except OSError as error:
                if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    family = "IPv6" if ":" in server.address else "IPv4"
                    return Answer("no-route", reason=f"this machine has no {family} route to it")
                reason = f"unreachable ({error.strerror or error})"
            except (dns.exception.DNSException, EOFError) as error:
                reason = f"an answer that makes no sense ({type(error).__name__})"
            else:
                return _answer(response, name, rdtype)
        return Answer("silent", reason=reason)

    def lookup(self, name: str, rdtype: RdataType) -> Answer:
        """What the first server of the name's zone that answers says. Raises NoServers."""
        last = Answer("silent", reason="it has no name servers")
        for server in self.of(self.zone_of(name)):
            last = self.ask(server, name, rdtype)
            if last.status in ("answer", "nothing"):
                return last
        return last

    def _find(self, zone: str) -> tuple[Server, ...]:
        try:
            names = {canonical_name(r.target) for r in self._resolve(zone, RdataType.NS)}
        except (dns.exception.DNSException, OSError) as error:
            raise NoServers(
                f"{zone}: its name servers were not found: {_why(error)}. Is the zone delegated?"
            ) from error
        servers = {s for name in names for s in self._addresses(name)}
        for name in self._delegation(zone) - names:
            servers.update(self._addresses(name))
        if not servers:
            raise NoServers(
                f"{zone}: none of its name servers ({', '.join(sorted(names))}) has an address. "
                "Correct the NS records or the servers' A and AAAA records."
            )
        return tuple(sorted(servers))

    def _addresses(self, name: str) -> list[Server]:
        found = []
        for rdtype in (RdataType.A, RdataType.AAAA):
            try:
                found += [Server(name, r.address) for r in self._resolve(name, rdtype)]
            except (dns.exception.DNSException, OSError):
                continue  # a server without IPv6 is normal; without any, `_find` says so
        return found

    def _delegation(self, zone: str) -> set[str]:
        """The names the parent delegates to; empty when the parent cannot be asked."""
        parent = zone.partition(".")[2]
        try:
            above = self.zone_of(parent) if parent else ""
            names = [canonical_name(r.target) for r in self._resolve(above, RdataType.NS)]
        except (DnsError, dns.exception.DNSException, OSError):
            return set()
        query = dns.message.make_query(_name(zone), RdataType.NS)
        query.flags &= ~dns.flags.RD
        for server in (server for name in sorted(names) for server in self._addresses(name)):
            try:
                response, _ = dns.query.udp_with_fallback(
                    query, server.address, timeout=self._timeout, port=self._port
                )
            except (dns.exception.DNSException, OSError, EOFError):
                continue
            return {
                canonical_name(rdata.target)
                for rrset in (*response.answer, *response.authority)
                if rrset.rdtype == RdataType.NS and rrset.name == _name(zone)
                for rdata in rrset
            }
        return set()

    def _resolve(self, name: str, rdtype: RdataType) -> dns.resolver.Answer:
        return self._ask().resolve(_name(name), rdtype, lifetime=10.0)

    def _ask(self) -> dns.resolver.Resolver:
        return self._resolver or dns.resolver.get_default_resolver()


def _name(name: str) -> dns.name.Name:
    return dns.name.from_text(f"{name}." if name else ".")


def _answer(response: dns.message.Message, name: str, rdtype: RdataType) -> Answer:
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer("lame", reason=f"it says {dns.rcode.to_text(code)}")
    if not response.flags & dns.flags.AA:
        return Answer("lame", reason="it is not authoritative for the zone")
    for rrset in response.answer:
        if rrset.rdtype == rdtype and canonical_name(rrset.name) == name:
            rdatas = frozenset(canonical(rdata) for rdata in rrset)
            return Answer("answer", RRset(name, rdtype, rrset.ttl, rdatas))
    found = "the name does not exist" if code == dns.rcode.NXDOMAIN else "no such record"
    return Answer("nothing", reason=found)


def _why(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
