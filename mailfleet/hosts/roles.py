"""Which roles a host has, in the order in which they are applied."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from mailfleet.fleet.model import Fleet, Host, Role

# The order matters: a name server before whoever resolves, the firewall before anything listens
# to the world, certificates before those who serve them, milters before Postfix asks them.
_EVERY = ("base", "firewall", "resolver", "tls")
_INBOUND = ("spamassassin", "clamav", "postfix")
ROLES: dict[Role, tuple[str, ...]] = {
    Role.SENDER: (*_EVERY, "opendkim", "postfix"),
    Role.MX: (*_EVERY, *_INBOUND),
    Role.BACKUP_MX: (*_EVERY, *_INBOUND),
}


@dataclass(frozen=True)
class Port:
    """A port that a role opens to the world.

    `answers` is what `mailfleet deploy` expects of it afterwards: an SMTP greeting with the
    host's name and STARTTLS ("smtp"), TLS with a certificate of that name ("tls"), a connection
    ("open"), or nothing to rely on ("nothing": HTTP-01 listens only while a certificate is asked
    for).
    """

    number: int
    proto: Literal["tcp", "udp"] = "tcp"
    answers: Literal["smtp", "tls", "open", "nothing"] = "open"


def names_of(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """The names of a host's roles, in order."""
    switched_off = set()
    if not fleet.filters.spam.enabled:
        switched_off.add("spamassassin")
    if not fleet.filters.virus.enabled:
        switched_off.add("clamav")
    return tuple(name for name in ROLES[host.role] if name not in switched_off)


def role(name: str) -> ModuleType:
    """A role's module, imported when it is first asked for."""
    return import_module(f"mailfleet.roles.{name}")


def roles_of(fleet: Fleet, host: Host) -> tuple[ModuleType, ...]:
    """The role modules of a host, in order."""
    return tuple(role(name) for name in names_of(fleet, host))


def packages_of(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Every Debian package that the host's roles need, sorted."""
    return tuple(sorted({name for each in roles_of(fleet, host) for name in each.packages(host)}))


def debconf_of(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Answers for debconf: the `DEBCONF` of those roles that have one."""
    return tuple(line for each in roles_of(fleet, host) for line in getattr(each, "DEBCONF", ()))


def ports_of(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Every port the host's roles open to the world, sorted by number."""
    ports = {port for each in roles_of(fleet, host) for port in each.ports(fleet, host)}
    return tuple(sorted(ports, key=lambda port: (port.number, port.proto)))
