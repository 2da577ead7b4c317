"""Name servers that take signed updates: RFC 2136 with TSIG (RFC 8945). BIND, Knot, PowerDNS.

A zone is read by AXFR (RFC 5936) and written by one UPDATE whose prerequisites say what was seen,
so the server itself refuses when somebody was faster. NOERROR is not success there (RFC 2136
section 3.4.2 has several cases that are ignored in silence): the caller reads again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import dns.zone
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.SOA import SOA

from mailfleet.dns.changes import Change
from mailfleet.dns.errors import Conflict, ProviderError
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key, RRset, canonical, canonical_name
from mailfleet.fleet.model import Rfc2136Account

TIMEOUT = 10.0  # seconds for one exchange
TRANSFER_TIMEOUT = 60.0  # seconds for one zone

# What a signing server makes and keeps itself; TYPE65534 is BIND's note about signing.
_MADE_BY_SERVER = frozenset(
    {
        RdataType.RRSIG,
        RdataType.NSEC,
        RdataType.NSEC3,
        RdataType.NSEC3PARAM,
        RdataType.DNSKEY,
        RdataType.CDS,
        RdataType.CDNSKEY,
        RdataType.make(65534),
    }
)
# A DNS message over TCP holds 65,535 bytes; the rest is room for prerequisites and TSIG.
_MESSAGE_BYTES = 60_000
_PREREQUISITE_FAILED = {
    dns.rcode.NXDOMAIN,
    dns.rcode.YXDOMAIN,
    dns.rcode.YXRRSET,
    dns.rcode.NXRRSET,
}

T = TypeVar("T")


class Rfc2136:
    """One name server and one TSIG key. Raises ProviderError when the secret is no key."""

    capabilities = Capabilities(atomic=True, compare_and_swap=True, batch=None, parallel=16)

    def __init__(self, name: str, account: Rfc2136Account, secret: str) -> None:
        self._name = name
        self._account = account
        self._server, self._port = str(account.server), account.port
        self._key_name = dns.name.from_text(account.key_name)
        try:
            self._keyring = {
                self._key_name: dns.tsig.Key(self._key_name, secret.strip(), account.algorithm)
            }
        except Exception:
            # The cause would show the secret.
            raise ProviderError(
                f"{self.describe()}: the TSIG secret is not base64. Accepted: the `secret` of the "
                "key as `tsig-keygen` or `keymgr tsig generate` prints it."
            ) from None

    def describe(self) -> str:
        """The provider, its server, and the account's name."""
        port = "" if self._port == 53 else f" port {self._port}"
        return f"rfc2136 {self._server}{port} (account {self._name})"

    def read(self, zone: str, wanted: Collection[Key]) -> ZoneView:
        """The whole zone by AXFR."""

        def transfer() -> dns.zone.Zone:
            whole = dns.zone.Zone(_origin(zone), relativize=False)
            query, _ = dns.xfr.make_query(
                whole, serial=None, keyring=self._keyring, keyname=self._key_name
            )
            dns.query.inbound_xfr(
                self._server,
                whole,
                query,
                port=self._port,
                timeout=TIMEOUT,
                lifetime=TRANSFER_TIMEOUT,
            )
            return whole

        whole = self._attempt(zone, "read the zone", transfer)
        rrsets: dict[Key, RRset] = {}
        native: dict[Key, dict[Rdata, Rdata]] = {}
        version = ""
        for owner, rdataset in whole.iterate_rdatasets():
            if rdataset.rdtype in _MADE_BY_SERVER:
                continue
            name = canonical_name(owner)
            if rdataset.rdtype == RdataType.SOA:
                version = rdataset[0].to_text()
            forms = {canonical(rdata): rdata for rdata in rdataset}
            rrset = RRset(name, rdataset.rdtype, rdataset.ttl, frozenset(forms))
            rrsets[rrset.key] = rrset
            if any(form != rdata for form, rdata in forms.items()):
                native[rrset.key] = forms
        return ZoneView(zone, self._name, self.capabilities, rrsets, version=version, native=native)

    def write(self, view: ZoneView, changes: Sequence[Change]) -> None:
        """Send the changes as one UPDATE; as several when they are longer than a message."""
        version = view.version
        for part in _messages(changes):
            update = dns.update.UpdateMessage(
                _origin(view.zone), keyring=self._keyring, keyname=self._key_name
            )
            if version:
                update.present(_origin(view.zone), "SOA", version)
            for change in part:
                _add(update, change, view.native.get(change.key, {}))
            self._send(view.zone, update)
            version = ""  # the first part has moved the serial; the RRsets are still compared

    def soa(self, zone: str) -> SOA:
        """The server's SOA of a zone."""

        def ask() -> dns.message.Message:
            query = dns.message.make_query(_origin(zone), RdataType.SOA)
            query.use_tsig(self._keyring, self._key_name)
            return dns.query.tcp(query, self._server, TIMEOUT, self._port)

        answer = self._attempt(zone, "read the SOA", ask)
        for rrset in answer.answer:
            if rrset.rdtype == RdataType.SOA and isinstance(rrset[0], SOA):
                return rrset[0]
        raise self._refused(zone, "read the SOA", answer.rcode())

    def _send(self, zone: str, update: dns.update.UpdateMessage) -> None:
        response = self._attempt(
            zone,
            "update the zone",
            lambda: dns.query.tcp(update, self._server, TIMEOUT, self._port),
            writing=True,
        )
        code = response.rcode()
        if code in _PREREQUISITE_FAILED:
            raise Conflict(
                f"{zone}: {self.describe()} refused the update, because the zone is no longer as "
                f"it was read ({dns.rcode.to_text(code)})."
            )
        if code != dns.rcode.NOERROR:
            raise self._refused(zone, "update the zone", code)

    def _attempt(self, zone: str, what: str, call: Callable[[], T], *, writing: bool = False) -> T:
        """Run one exchange; every way it can fail becomes a ProviderError that says what to do."""
        try:
            return call()
        except dns.tsig.PeerBadKey as error:
            raise self._error(
                zone,
                what,
                f"it does not know the TSIG key {self._account.key_name} or does not allow it this "
                "(BADKEY)",
                "Compare key_name and algorithm with the server's configuration; Knot: the acl "
                "needs action [transfer, update].",
            ) from error
        except (dns.tsig.PeerBadSignature, dns.tsig.BadSignature) as error:
            raise self._error(
                zone,
                what,
                f"the TSIG signature is wrong (BADSIG, key {self._account.key_name})",
                "The secret or the algorithm differs from the server's.",
            ) from error
        except (dns.tsig.PeerBadTime, dns.tsig.BadTime) as error:
            raise self._error(
                zone,
                what,
                "the clocks differ by more than 5 minutes (BADTIME)",
                "Set the clock of this machine or of the server.",
            ) from error
        except dns.tsig.PeerError as error:
            raise self._error(
                zone, what, f"TSIG failed ({error})", "See the server's log."
            ) from error
        except dns.xfr.TransferError as error:
            raise self._refused(zone, what, error.rcode) from error
        except (dns.exception.Timeout, EOFError, ConnectionResetError, BrokenPipeError) as error:
            silent = isinstance(error, dns.exception.Timeout)
            raise self._error(
                zone,
                what,
                "no answer in time" if silent else "the server hung up",
                "Whether it took the update is read again on the next run."
                if writing
                else "Run it again; if it stays so, see the server's log.",
                unreachable=True,
                unknown=writing,
            ) from error
        except OSError as error:
            raise self._error(
                zone,
                what,
                f"unreachable ({error.strerror or error})",
                "Check server and port of the account, and that this machine may reach it.",
                unreachable=True,
            ) from error
        except dns.exception.DNSException as error:
            raise self._error(
                zone,
                what,
                f"an answer that makes no sense ({type(error).__name__}: {error})",
                "Check that this is a DNS server for the zone.",
                unknown=writing,
            ) from error

    def _refused(self, zone: str, what: str, code: dns.rcode.Rcode) -> ProviderError:
        text = dns.rcode.to_text(code)
        reason, remedy = {
            dns.rcode.NOTAUTH: (
                "it is not authoritative for the zone, or does not accept the key",
                "Create the zone there, or correct dns.zones.",
            ),
            dns.rcode.NOTZONE: (
                "a name of the update lies outside the zone",
                "Correct dns.zones.",
            ),
            dns.rcode.REFUSED: (
                "it does not allow this",
                "Allow the key to transfer and to update the zone (BIND: allow-transfer and "
                "update-policy; Knot: acl with action [transfer, update]).",
            ),
            dns.rcode.SERVFAIL: ("it failed inside", "See the server's log."),
        }.get(code, ("it said no", "See the server's log."))
        return self._error(zone, what, f"{reason} ({text})", remedy)

    def _error(
        self,
        zone: str,
        what: str,
        found: str,
        remedy: str,
        *,
        unreachable: bool = False,
        unknown: bool = False,
    ) -> ProviderError:
        return ProviderError(
            f"{zone}: could not {what} at {self.describe()}: {found}. {remedy}",
            unreachable=unreachable,
            unknown=unknown,
        )


def _origin(zone: str) -> dns.name.Name:
    return dns.name.from_text(f"{zone}.")


def _add(update: dns.update.UpdateMessage, change: Change, native: Mapping[Rdata, object]) -> None:
    """One change with its prerequisite: exactly the old RRset, or none (RFC 2136 section 2.4).

    A server compares a text with its cut into strings, so what it has is named in its own form.
    """
    name, rdtype = _origin(change.key[0]), change.key[1]
    old = change.old.rdatas if change.old else frozenset()
    new = change.new.rdatas if change.new else frozenset()
    if old:
        update.present(name, *(native.get(rdata, rdata) for rdata in sorted(old)))
    else:
        update.absent(name, rdtype)
        if rdtype is not RdataType.CNAME:
            update.absent(name, RdataType.CNAME)
    if change.new is None:
        update.delete(name, rdtype)
        return
    ttl = change.new.ttl if change.new.ttl is not None else (change.old.ttl if change.old else 0)
    if change.old and change.old.ttl != ttl:
        update.delete(name, rdtype)  # one TTL an RRset: all of it is written anew
        old = frozenset()
    for rdata in sorted(old - new):
        update.delete(name, native.get(rdata, rdata))
    for rdata in sorted(new - old):
        update.add(name, ttl, native.get(rdata, rdata))


def _messages(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes in parts that fit in a message each; nearly always one part."""
    part: list[Change] = []
    size = 0
    for change in changes:
        rdatas = [
            *(change.old.rdatas if change.old else ()),
            *(change.new.rdatas if change.new else ()),
        ]
        # Twice: prerequisite and update. 12 bytes of type, class, TTL and length with each record.
        need = sum(2 * (len(change.key[0]) + 14 + len(r.to_wire() or b"")) for r in rdatas)
        if part and size + need > _MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(change)
        size += need
    if part:
        yield part
