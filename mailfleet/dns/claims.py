"""What the fleet wants the DNS to say, and why: pure, from the fleet and the recorded DKIM keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol
from urllib.parse import quote

import dns.rdata
from dns.rdatatype import RdataType

from mailfleet.dkim.selector import stem_of
from mailfleet.dkim.txt import txt_value
from mailfleet.dns import spf
from mailfleet.dns.records import Key, RRset, address, longest_zone, parse, reverse_name, txt
from mailfleet.fleet.model import Domain, Fleet, Host, Role

# What a mailto: URI in a DMARC record holds as it is (RFC 6068; `!` would be a size limit there).
_IN_MAILTO = "@+=~"
MX_STEP, BACKUP_MX_FROM = 10, 100

Only = Literal["addresses"]


class Kind(StrEnum):
    """What a claim is for."""

    ADDRESS = "address"
    HELO = "helo"
    PTR = "ptr"
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"


# `--only addresses`: what exists before any host does.
HOST_KINDS = frozenset({Kind.ADDRESS, Kind.HELO, Kind.PTR})
ALL_KINDS = frozenset(Kind)


class SigningKey(Protocol):
    """What DNS needs to know of a DKIM key (`mailfleet.dkim.records.DkimKey`)."""

    @property
    def selector(self) -> str: ...

    @property
    def public_key(self) -> str: ...

    @property
    def state(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """One piece of desired DNS.

    Exclusive (`slot` empty): the whole RRset is ours. Shared: only the values of `rrset` are ours,
    in an RRset that others write too; `slot` is the first word of the values that take our place
    (`v=spf1`: a domain has one SPF record, RFC 7208 section 4.5). `zone` is None where no account
    of the fleet holds the zone: then somebody has to enter it by hand. `subject` is the host or
    domain it is for.
    """

    zone: str | None
    rrset: RRset
    kind: Kind
    subject: str
    why: str
    slot: str = ""

    @property
    def key(self) -> Key:
        return self.rrset.key

    @property
    def exclusive(self) -> bool:
        return not self.slot

    def takes_our_place(self, rdata: dns.rdata.Rdata) -> bool:
        """Whether a value stands where ours has to be."""
        if self.exclusive:
            return True
        strings: tuple[bytes, ...] = rdata.strings  # type: ignore[attr-defined]
        return strings[0].split(b" ", 1)[0].lower() == self.slot.encode()


@dataclass(frozen=True)
class Desired:
    """All claims, and what a plan has to know besides them.

    `kinds` are the kinds that were derived: nothing of another kind may be deleted. `waiting` are
    senders whose DKIM key is not recorded yet, and `held` what their selectors begin with: what is
    published of them stays. `signing` are the selectors that hosts sign with.
    """

    claims: tuple[Claim, ...]
    zones: Mapping[str, str]
    kinds: frozenset[Kind] = ALL_KINDS
    waiting: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    signing: frozenset[str] = frozenset()

    def of(self, subject: str) -> tuple[Claim, ...]:
        """The claims for one domain or host, and for names in it."""
        suffix = "." + subject
        return tuple(
            claim
            for claim in self.claims
            if claim.subject == subject or claim.key[0] == subject or claim.key[0].endswith(suffix)
        )


def derive(
    fleet: Fleet, keys: Mapping[str, Sequence[SigningKey]], only: Only | None = None
) -> Desired:
    """Every claim of the fleet, in the order of its hosts and domains.

    `keys` are the recorded DKIM keys by hostname; senders without one are `waiting`.
    """
    kinds = HOST_KINDS if only == "addresses" else ALL_KINDS
    domains = frozenset(domain.name for domain in fleet.domains)
    claims = [claim for host in fleet.hosts for claim in _host(fleet, host, domains)]
    if only is None:
        claims += _senders(fleet)
        claims += [claim for domain in fleet.domains for claim in _domain(fleet, domain, keys)]
    senders = [h.name for h in fleet.with_role(Role.SENDER) if fleet.domains_of(h)]
    waiting = () if only else tuple(name for name in senders if not keys.get(name))
    return Desired(
        claims=tuple(claims),
        zones=dict(fleet.dns.zones),
        kinds=kinds,
        waiting=waiting,
        held=tuple(f"{stem_of(name, fleet.general.zone)}-" for name in waiting),
        signing=frozenset(key.selector for known in keys.values() for key in _live(known)),
    )


@dataclass(frozen=True)
class _For:
    """Makes the claims for one host or domain."""

    fleet: Fleet
    subject: str

    def claim(
        self, kind: Kind, name: str, rdatas: Sequence[dns.rdata.Rdata], why: str, *, slot: str = ""
    ) -> Claim:
        zone = longest_zone(name, self.fleet.dns.zones)
        rrset = RRset(name, rdatas[0].rdtype, self.fleet.dns.ttl, frozenset(rdatas))
        return Claim(zone, rrset, kind, self.subject, why, slot)


def _senders(fleet: Fleet) -> Iterator[Claim]:
    """`_spf.<fleet zone>`: every sender's addresses, in further records when it gets long."""
    ours = _For(fleet, fleet.general.zone)
    senders = fleet.with_role(Role.SENDER)
    base = f"_spf.{fleet.general.zone}"
    why = f"the addresses of all {len(senders)} senders, included by every domain's SPF"
    for name, text in spf.sender_records(base, [a for host in senders for a in host.addresses]):
        yield ours.claim(Kind.SPF, name, [txt(text)], why)


def _host(fleet: Fleet, host: Host, domains: frozenset[str]) -> Iterator[Claim]:
    ours = _For(fleet, host.name)
    where = f"where {host.name} ({host.role}, {host.region}) is"
    for value in host.addresses:
        yield ours.claim(Kind.ADDRESS, host.name, [address(value)], where)
    if host.name not in domains:
        why = "SPF of the HELO name: bounces have no sender domain (RFC 7208 section 2.3)"
        yield ours.claim(Kind.HELO, host.name, [txt("v=spf1 a -all")], why, slot="v=spf1")
    ptr = parse(RdataType.PTR, f"{host.name}.")
    for value in host.addresses:
        why = f"reverse name of {value}: receivers want it to match the HELO name"
        yield ours.claim(Kind.PTR, reverse_name(value), [ptr], why)


def _domain(
    fleet: Fleet, domain: Domain, keys: Mapping[str, Sequence[SigningKey]]
) -> Iterator[Claim]:
    name = domain.name
    ours = _For(fleet, name)
    mx = [parse(RdataType.MX, f"{pref} {host}.") for pref, host in preferences(fleet, domain)]
    if mx:
        yield ours.claim(Kind.MX, name, mx, "inbound mail: every mx, then every backup_mx")
    text = spf.domain_record(f"_spf.{fleet.general.zone}", domain.spf.include, domain.spf.all)
    why = ", ".join(["who may send for the domain: our senders", *domain.spf.include])
    yield ours.claim(Kind.SPF, name, [txt(text)], why, slot="v=spf1")
    for host in fleet.senders_of(domain):
        why = f"the key {host.name} signs with"
        for key in _live(keys.get(host.name, ())):
            owner = f"{key.selector}._domainkey.{name}"
            yield ours.claim(Kind.DKIM, owner, [txt(txt_value(key.public_key))], why)
    why = f"what receivers do with mail that is not ours: {domain.dmarc.policy}"
    yield ours.claim(Kind.DMARC, f"_dmarc.{name}", [txt(dmarc_record(domain))], why)


def preferences(fleet: Fleet, domain: Domain) -> tuple[tuple[int, str], ...]:
    """MX preference and host: mx hosts 10, 20, …, then backup_mx hosts from 100 on."""
    main = [(MX_STEP * i, h.name) for i, h in enumerate(fleet.mx_of(domain), 1)]
    start = max(BACKUP_MX_FROM, MX_STEP * (len(main) + 1))
    backup = [(start + MX_STEP * i, h.name) for i, h in enumerate(fleet.backup_mx_of(domain))]
    return (*main, *backup)


def dmarc_record(domain: Domain) -> str:
    """The DMARC record of a domain (RFC 7489 section 6.3)."""
    dmarc = domain.dmarc
    parts = ["v=DMARC1", f"p={dmarc.policy}"]
    if dmarc.subdomain_policy:
        parts.append(f"sp={dmarc.subdomain_policy}")
    if dmarc.rua:
        parts.append("rua=" + ",".join(f"mailto:{quote(to, safe=_IN_MAILTO)}" for to in dmarc.rua))
    return "; ".join(parts)


def _live(keys: Iterable[SigningKey]) -> Iterator[SigningKey]:
    return (key for key in keys if key.state != "revoked")
