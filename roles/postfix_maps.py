"""The lookup tables of Postfix, as texthash: and cidr: files: nothing to index, nothing to forget.

texthash is read when a process starts (texthash in DATABASE_README), so Postfix is reloaded when
one of them changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailfleet.fleet.model import Domain, Fleet, Host, Role
from mailfleet.hosts.files import File
from mailfleet.hosts.render import RenderError
from mailfleet.roles.postfix_settings import Settings, mailbox_domains, next_hop, relay_domains
from mailfleet.warmup.transports import transport_map

DIRECTORY = "/etc/postfix"
TRANSPORT = f"{DIRECTORY}/transport"
MAILBOXES = f"{DIRECTORY}/virtual_mailboxes"
ALIASES = f"{DIRECTORY}/virtual_aliases"
RELAY_RECIPIENTS = f"{DIRECTORY}/relay_recipients"
TRUSTED = f"{DIRECTORY}/trusted_clients.cidr"

# RFC 2142: somebody must read these for every domain.
ROLE_NAMES = ("abuse", "postmaster")

# A dot-atom (RFC 5322) that can be the name of a directory and the key of a table.
_ATOM = r"[a-z0-9!$%&'*+=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")


def maps(fleet: Fleet, host: Host, settings: Settings) -> tuple[File, ...]:
    """Every table of a host. Raises RenderError for a recipient that cannot be a mailbox."""
    if host.role is Role.SENDER:
        return (_table(TRANSPORT, _sender_routes(fleet)),)
    relayed = relay_domains(fleet, host)
    found = [
        _table(RELAY_RECIPIENTS, ((a, "OK") for d in relayed for a in recipients(fleet, d))),
        _table(ALIASES, _aliases(fleet, host)),
    ]
    if host.role is Role.MX:
        found += [
            _table(TRANSPORT, ((d.name, f"relay:{next_hop(d)}") for d in relayed)),
            _table(MAILBOXES, _mailboxes(fleet, mailbox_domains(fleet, host))),
            _table(TRUSTED, ((str(address), "OK") for address in settings.trusted)),
        ]
    return tuple(found)


def recipients(fleet: Fleet, domain: Domain) -> tuple[str, ...]:
    """The addresses of a domain that exist, sorted; with abuse@, postmaster@ and the contact.

    Raises RenderError for one that can be neither a mailbox nor the key of a table.
    """
    found = set(fleet.recipients.get(domain.name, ()))
    found |= {f"{name}@{domain.name}" for name in ROLE_NAMES}
    if fleet.general.contact.endswith(f"@{domain.name}"):
        found.add(fleet.general.contact)
    for address in sorted(found):
        if not _LOCAL.fullmatch(address.rpartition("@")[0]):
            raise RenderError(
                f"recipients/{domain.name}: {address!r} cannot be a mailbox; accepted before the @ "
                "are lower case letters, digits and !$%&'*+=?^_`{|}~- with single dots between them"
            )
    return tuple(sorted(found))


def _sender_routes(fleet: Fleet) -> Iterable[tuple[str, str]]:
    """Providers to their paced transports; our own domains are not held back."""
    routes = {domain: f"{name}:" for domain, name in transport_map(fleet).items()}
    return sorted((routes | {domain.name: "smtp:" for domain in fleet.domains}).items())


def _mailboxes(fleet: Fleet, domains: Iterable[Domain]) -> Iterable[tuple[str, str]]:
    for domain in domains:
        for address in recipients(fleet, domain):
            local = address.rpartition("@")[0]
            yield address, f"{domain.name}/{local}/"


def _aliases(fleet: Fleet, host: Host) -> Iterable[tuple[str, str]]:
    """abuse@ and postmaster@ reach the contact: of the host, and on an mx of every domain."""
    domains = mailbox_domains(fleet, host)
    if host.role is Role.MX:
        domains += relay_domains(fleet, host)
    names = [domain.name for domain in domains]
    contact = fleet.general.contact
    for domain in sorted([*names, host.name]):
        for name in ROLE_NAMES:
            if f"{name}@{domain}" != contact:
                yield f"{name}@{domain}", contact


def _table(path: str, rows: Iterable[tuple[str, str]]) -> File:
    lines = ["# Written by mailfleet from the fleet directory; changes here are lost."]
    lines += [f"{key} {value}" for key, value in rows]
    return File(path, "\n".join(lines) + "\n")
