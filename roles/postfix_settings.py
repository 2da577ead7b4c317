"""What Postfix is told on one host: every decision, before anything is rendered.

`settings` is pure. The templates below `templates/etc/postfix/` only write down what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from mailfleet.fleet.model import Domain, Fleet, Host, IPAddress, Role
from mailfleet.roles import clamav, opendkim, spamassassin, tls
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.transports import transports

Action = Literal["accept", "tempfail"]

# 50 MiB: what the large mailbox providers accept, base64 included.
MESSAGE_BYTES = 50 * 1024 * 1024
# What a message may grow by between a backup_mx and an mx: Received and the filters' fields.
GROWTH_BYTES = 1024 * 1024

# The owner of all Maildirs; a fixed number, because virtual(8) wants numbers in main.cf.
VMAIL = "vmail"
VMAIL_ID = 5000
MAILDIRS = "/var/mail/vhosts"


@dataclass(frozen=True)
class Milter:
    """One mail filter, and what happens to a message that it cannot judge."""

    socket: str
    default_action: Action
    content_seconds: int | None = None  # for the whole message; None is Postfix's 300

    def __str__(self) -> str:
        patience = f", content_timeout={self.content_seconds}s" if self.content_seconds else ""
        return f"{{ {self.socket}, default_action={self.default_action}{patience} }}"


@dataclass(frozen=True)
class Settings:
    """The decisions for one host. Domains are sorted; empty tuples leave a section out."""

    hostname: str
    role: Role
    contact: str
    listen: tuple[str, ...]
    protocols: Literal["all", "ipv4"]
    addresses: tuple[IPAddress, ...]
    bind_ipv6: IPv6Address | None
    envelope_sender: str | None
    message_bytes: int
    certificate: str
    smtpd_milters: tuple[Milter, ...]
    non_smtpd_milters: tuple[Milter, ...]
    trusted: tuple[IPAddress, ...]
    transports: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    mailbox_domains: tuple[str, ...]
    relay_domains: tuple[str, ...]

    @property
    def sends(self) -> bool:
        """Whether it is a sender."""
        return self.role is Role.SENDER

    @property
    def receives(self) -> bool:
        """Whether it takes mail from the world."""
        return self.role is not Role.SENDER

    @property
    def holds(self) -> bool:
        """Whether it only holds mail for the others."""
        return self.role is Role.BACKUP_MX


def settings(
    fleet: Fleet, host: Host, warmup: Mapping[str, str] | None = None, scanner: bool = True
) -> Settings:
    """The settings of one host.

    `warmup` are the parameters of main.cf of the stage that a sender is in
    (`mailfleet.warmup.plan.parameters_in_force`); None is the first day of its schedule.
    `scanner` is False where ClamAV is left off although the fleet wants it (`clamav.runs_on`).
    """
    sender = host.role is Role.SENDER
    if sender and warmup is None:
        warmup = parameters(fleet, host, None)
    signer = (Milter(opendkim.MILTER, "tempfail"),) if sender else ()
    return Settings(
        hostname=host.name,
        role=host.role,
        contact=fleet.general.contact,
        # Explicit, instead of inet_interfaces = loopback-only: Postfix goes on knowing its own
        # addresses, by which it notices mail that loops.
        listen=_loopback(host) if sender else ("smtp",),
        # A host that has IPv6 although the fleet does not say so would send from an address
        # without PTR and SPF: "5.7.25" at Gmail.
        protocols="all" if host.ipv6 else "ipv4",
        addresses=host.addresses,
        # Beside the address of the inventory, SLAAC may have given the host others.
        bind_ipv6=host.ipv6,
        envelope_sender=_envelope_sender(fleet),
        message_bytes=MESSAGE_BYTES - (GROWTH_BYTES if host.role is Role.BACKUP_MX else 0),
        certificate=tls.certificate_path(host),
        smtpd_milters=signer if sender else _filters(fleet, scanner),
        non_smtpd_milters=signer,
        trusted=_trusted(fleet, host),
        transports=transports(fleet) if sender else (),
        parameters=tuple((warmup or {}).items()) if sender else (),
        mailbox_domains=tuple(d.name for d in mailbox_domains(fleet, host)),
        relay_domains=tuple(d.name for d in relay_domains(fleet, host)),
    )


def mailbox_domains(fleet: Fleet, host: Host) -> tuple[Domain, ...]:
    """The domains whose mail a host keeps in Maildirs, by name."""
    return tuple(d for d in _mx_domains(fleet, host) if d.destination == "maildir")


def relay_domains(fleet: Fleet, host: Host) -> tuple[Domain, ...]:
    """The domains whose mail a host takes and hands on, by name."""
    if host.role is Role.BACKUP_MX:
        held = (d for d in fleet.domains if host in fleet.backup_mx_of(d))
        return tuple(sorted(held, key=lambda domain: domain.name))
    return tuple(d for d in _mx_domains(fleet, host) if d.destination != "maildir")


def next_hop(domain: Domain) -> str:
    """The next hop of a domain with `destination: smtp:HOST[:PORT]`, as transport(5) wants it.

    In brackets: the host itself, not its MX. Raises ValueError for another destination.
    """
    scheme, _, rest = domain.destination.partition(":")
    if scheme != "smtp" or not rest:
        raise ValueError(f"{domain.name}: {domain.destination!r} is not smtp:HOST[:PORT]")
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = rest.partition(":")
    address = f"ipv6:{host}" if ":" in host and not host.startswith("ipv6:") else host
    return f"[{address}]:{port or 25}"


def _loopback(host: Host) -> tuple[str, ...]:
    return ("127.0.0.1:smtp", "[::1]:smtp") if host.ipv6 else ("127.0.0.1:smtp",)


def _mx_domains(fleet: Fleet, host: Host) -> tuple[Domain, ...]:
    mine = (d for d in fleet.domains if host.role is Role.MX and host in fleet.mx_of(d))
    return tuple(sorted(mine, key=lambda domain: domain.name))


def _filters(fleet: Fleet, scanner: bool) -> tuple[Milter, ...]:
    """What judges inbound mail, viruses first: that is the cheaper question.

    Without a verdict on viruses the sender has to try again; without a score mail passes.
    """
    found = []
    if fleet.filters.virus.enabled and scanner:
        found.append(Milter(clamav.MILTER, "tempfail"))
    if fleet.filters.spam.enabled:
        # A spamd that hangs must not keep the client waiting until it sends the message again.
        found.append(Milter(spamassassin.MILTER, "accept", content_seconds=60))
    return tuple(found)


def _trusted(fleet: Fleet, host: Host) -> tuple[IPAddress, ...]:
    """Clients that an mx does not judge by their HELO and sender: every backup_mx.

    Refusing what a backup_mx has accepted makes it send a bounce to a forged address. The filters
    leave them alone by themselves (`spamassassin.relays`).
    """
    if host.role is not Role.MX:
        return ()
    backups = fleet.with_role(Role.BACKUP_MX)
    found: list[IPv4Address | IPv6Address] = [a for each in backups for a in each.addresses]
    return tuple(sorted(found, key=lambda address: (address.version, int(address))))


def _envelope_sender(fleet: Fleet) -> str | None:
    """The return path of the hosts' own mail: the contact, when our own mx takes bounces to it.

    A contact elsewhere cannot be it: the hosts are not in the SPF record of its domain.
    """
    domain = fleet.general.contact.rpartition("@")[2]
    return fleet.general.contact if any(d.name == domain for d in fleet.domains) else None
