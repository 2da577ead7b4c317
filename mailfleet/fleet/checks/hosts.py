"""Hosts: names, addresses, roles, pools and the data that pyinfra gets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from mailfleet.fleet.addresses import is_example, why_not_public
from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.inventory import Entry
from mailfleet.fleet.model import Host, Role
from mailfleet.fleet.types import IPAddress
from mailfleet.fleet.validate import did_you_mean, shown, words

_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FQDN = "a fully qualified name in lower case, such as mta1.eu.example.com"
# sethostname(2): HOST_NAME_MAX; also the longest common name of a certificate (RFC 5280).
_LONGEST = 64

FIELDS = frozenset(Host.model_fields) - {"name", "role", "region"}
# What pyinfra's SSH connector reads (pyinfra/connectors/ssh.py, 3.10).
_SSH = frozenset(
    {
        "ssh_hostname",
        "ssh_port",
        "ssh_user",
        "ssh_password",
        "ssh_key",
        "ssh_key_password",
        "ssh_allow_agent",
        "ssh_look_for_keys",
        "ssh_forward_agent",
        "ssh_config_file",
        "ssh_known_hosts_file",
        "ssh_strict_host_key_checking",
        "ssh_paramiko_connect_kwargs",
        "ssh_connect_retries",
        "ssh_connect_retry_min_delay",
        "ssh_connect_retry_max_delay",
        "ssh_file_transfer_protocol",
    }
)
# A name, an address, or a Host of ~/.ssh/config.
_TARGET = re.compile(r"[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*")


def check(draft: Draft) -> Iterator[Problem]:
    """Every host by itself, then against the others."""
    seen = set()
    for entry, host in draft.hosts:
        if entry.name in seen:
            continue
        seen.add(entry.name)
        yield from _name(draft, entry)
        yield from _pool(draft, entry)
        yield from _data(draft, entry)
        yield from _ssh(draft, entry)
        if host is not None:
            yield from _public(draft, entry, host)
    yield from _twice(draft)
    yield from _same_address(draft)
    yield from _networks(draft)
    if not draft.by_role[Role.MX] and draft.hosts_complete:
        for entry in draft.by_role[Role.BACKUP_MX]:
            found = "a backup_mx in a fleet without any mx"
            yield draft.in_host(entry, "", found, "at least one host in a group mx")


def _name(draft: Draft, entry: Entry) -> Iterator[Problem]:
    name, general = entry.name, draft.sections.fleet
    found = f'"{name}"'
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        hint = ""
        if name != name.lower() and _NAME.fullmatch(name.lower()):
            hint = f"Write it in lower case: {name.lower()}"
        elif len(name) > _LONGEST:
            hint = f"It has {len(name)} characters; Linux takes {_LONGEST}."
        elif general is not None and _NAME.fullmatch(f"{name}.{general.zone}"):
            hint = f"Perhaps {name}.{general.zone}?"
        yield draft.in_host(entry, "name", found, _FQDN, hint)
        return
    if name.split(".")[0].isdigit():
        hint = "The installation of Debian's postfix fails on such a name."
        accepted = "a name whose first label is not only digits"
        yield draft.in_host(entry, "name", found, accepted, hint)
    if general is not None and not name.endswith(f".{general.zone}"):
        accepted = f"a name below the fleet's zone {general.zone}"
        yield draft.in_host(entry, "name", found, accepted)
    if name in draft.declared("domains"):
        found = f"{found}, which is also a mail domain"
        hint = "Postfix cannot deliver mail of one name both as a host and as a domain."
        yield draft.in_host(entry, "name", found, "a name of its own", hint)


def _pool(draft: Draft, entry: Entry) -> Iterator[Problem]:
    pool, known = entry.data.get("pool"), draft.declared("pools")
    accepted = f"one of the pools of fleet.yml: {words(known)}"
    if entry.role is not Role.SENDER:
        if pool is not None:
            found = f"a pool on a host of the role {entry.role}"
            yield draft.in_host(entry, "pool", found, "a pool on senders only")
    elif pool is None:
        yield draft.in_host(entry, "pool", "a sender without a pool", accepted)
    elif isinstance(pool, str) and pool not in known:
        hint = did_you_mean(pool, known)
        yield draft.in_host(entry, "pool", f'the unknown pool "{pool}"', accepted, hint)


def _data(draft: Draft, entry: Entry) -> Iterator[Problem]:
    known = FIELDS | _SSH
    for name in entry.data:
        if name in known or name.startswith("_"):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if near:
            yield draft.in_host(
                entry,
                name,
                f'"{name}", which means nothing to mailfleet or to SSH',
                words(sorted(FIELDS)) + ", ssh_… or your own data",
                f"Did you mean {near[0]}?",
                severity=Severity.WARNING,
            )


def _ssh(draft: Draft, entry: Entry) -> Iterator[Problem]:
    """What pyinfra would only stumble over while it connects."""
    for name, accepted in (
        ("ssh_hostname", "a host name or an address, as text"),
        ("ssh_port", "a whole number from 1 to 65535"),
        ("ssh_user", "the name of a user"),
        ("ssh_key", "the path of a private key, as text"),
    ):
        value = entry.data.get(name)
        if value is None or _fits(name, value):
            continue
        found = shown(value) if isinstance(value, (str, int, float)) else type(value).__name__
        if not isinstance(value, (str, int, float)):
            found = f"a Python {found}"
        elif name == "ssh_key" and "\n" in str(value):
            found = "a text of several lines (not shown)"
        yield draft.in_host(entry, name, found, accepted)


def _fits(name: str, value: object) -> bool:
    if name == "ssh_port":
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    if not isinstance(value, str):
        return False
    if name == "ssh_hostname":
        return _TARGET.fullmatch(value) is not None
    return bool(value.strip()) and value.isprintable()


def _public(draft: Draft, entry: Entry, host: Host) -> Iterator[Problem]:
    examples = []
    for name, address in _addresses(host):
        why = why_not_public(address)
        if is_example(address):
            examples.append(address)
        elif why:
            yield draft.in_host(entry, name, f"{address}, {why}", "a public address")
    if examples and not draft.in_lab:
        yield draft.in_host(
            entry,
            "ipv4" if host.ipv4 in examples else "ipv6",
            f"{words(examples)}: for documentation, real only inside the lab",
            "public addresses",
            "Inside the lab: mailfleet lab run -- mailfleet …",
            severity=Severity.WARNING,
        )


def _addresses(host: Host) -> Iterator[tuple[str, IPAddress]]:
    yield "ipv4", host.ipv4
    if host.ipv6 is not None:
        yield "ipv6", host.ipv6


def _place(entry: Entry, name: str = "") -> str:
    origin = entry.where(name)
    return origin.file if origin.line is None else f"{origin.file}:{origin.line}"


def _twice(draft: Draft) -> Iterator[Problem]:
    first: dict[str, Entry] = {}
    for entry, _ in draft.hosts:
        before = first.setdefault(entry.name.lower(), entry)
        if before is entry:
            continue
        if before.role is entry.role:
            found = f"the same host again, first in {_place(before)}"
            accepted = "every host once in the whole fleet"
        else:
            found = f"the roles {before.role} ({_place(before)}) and {entry.role}"
            accepted = "one role a host: sender, mx or backup_mx"
        yield draft.in_host(entry, "name", found, accepted)


def _same_address(draft: Draft) -> Iterator[Problem]:
    first: dict[str, tuple[Entry, str]] = {}
    for entry, host in draft.hosts:
        for name, address in _addresses(host) if host else ():
            other, other_name = first.setdefault(str(address), (entry, name))
            if other.name.lower() != entry.name.lower():
                found = f"{address}, which {other.name} has ({_place(other, other_name)})"
                yield draft.in_host(entry, name, found, "an address of its own")
    for entry, _ in draft.hosts:
        target = entry.data.get("ssh_hostname")
        other, _ = first.get(target if isinstance(target, str) else "", (entry, ""))
        if other.name.lower() != entry.name.lower():
            found = f"{target}, the address of {other.name}"
            hint = "A deploy would turn that host into this one."
            yield draft.in_host(entry, "ssh_hostname", found, "its own address or name", hint)


def _networks(draft: Draft) -> Iterator[Problem]:
    general = draft.sections.fleet
    for index, network in enumerate(general.management_networks if general else ()):
        if network.prefixlen == 0:
            yield draft.in_file(
                ("fleet", "management_networks", index),
                f"{network}: SSH open to the whole world",
                "the networks you log in from",
                severity=Severity.WARNING,
            )
