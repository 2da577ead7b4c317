"""Mail domains: who takes their mail, who signs for them, who may receive."""

from __future__ import annotations

from collections.abc import Iterator

from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.model import DomainSettings, Role
from mailfleet.fleet.source import Where
from mailfleet.fleet.validate import did_you_mean, words


def check(draft: Draft) -> Iterator[Problem]:
    """Every domain, and the addresses that fleet.yml itself names."""
    if draft.source.data.get("domains", "absent") in ({}, None):
        yield draft.in_file(("domains",), "no domain", "at least one mail domain")
    for name, domain in draft.sections.domains.items():
        where = ("domains", name)
        yield from _mx(draft, where, domain)
        yield from _pools(draft, where, domain)
        yield from _destination(draft, where, domain)
        if not (draft.directory / "recipients" / name).exists():
            yield draft.in_file(
                where,
                "no recipients: only postmaster@ and abuse@ are accepted",
                f"a file recipients/{name}, one address a line",
                key=True,
                severity=Severity.WARNING,
            )
    yield from _contact(draft)
    yield from _mentioned(draft)


def _contact(draft: Draft) -> Iterator[Problem]:
    """Forwarding postmaster@ and abuse@ elsewhere would pass on spam under our own address."""
    general = draft.sections.fleet
    if general is None or not draft.sections.domains:
        return
    domain = general.contact.rpartition("@")[2].lower()
    receives = bool(draft.by_role[Role.MX])
    if domain in draft.roles or (receives and domain not in draft.sections.domains):
        yield draft.in_file(
            ("fleet", "contact"),
            general.contact,
            f"an address in one of the domains: {words(draft.sections.domains)}",
            "The mx would forward mail for postmaster@ and abuse@ under a stranger's name."
            if domain not in draft.roles
            else "A host cannot deliver its own mail to itself.",
        )


def _mx(draft: Draft, where: Where, domain: DomainSettings) -> Iterator[Problem]:
    for field, role in (("mx", Role.MX), ("backup_mx", Role.BACKUP_MX)):
        listed: tuple[str, ...] | None = getattr(domain, field)
        known = tuple(entry.name for entry in draft.by_role[role])
        for index, name in enumerate(listed or ()):
            place = (*where, field, index)
            if name in known:
                if name in (listed or ())[:index]:
                    yield draft.in_file(place, f"{name} again", "every host once")
                continue
            found = f'the unknown host "{name}"'
            if name not in draft.roles and not draft.hosts_complete:
                continue
            if name in draft.roles:
                found = f"{name}, which has the role {draft.roles[name]}"
            accepted = f"hosts of the group {field}: {words(known)}"
            yield draft.in_file(place, found, accepted, did_you_mean(name, known))
    known = tuple(entry.name for entry in draft.by_role[Role.MX])
    if domain.mx == () or (domain.mx is None and not known and draft.hosts_complete):
        accepted = "at least one mx: a host in a group mx, or names in mx"
        hint = "Nobody would take its mail, bounces and DMARC reports included."
        found = "a domain without an mx"
        yield draft.in_file((*where, "mx"), found, accepted, hint, key=True)


def _pools(draft: Draft, where: Where, domain: DomainSettings) -> Iterator[Problem]:
    known = draft.declared("pools")
    for index, pool in enumerate(domain.pools):
        if pool not in known:
            accepted = f"pools of fleet.yml: {words(known)}"
            hint = did_you_mean(pool, known)
            found = f'the unknown pool "{pool}"'
            yield draft.in_file((*where, "pools", index), found, accepted, hint)


def _destination(draft: Draft, where: Where, domain: DomainSettings) -> Iterator[Problem]:
    if not domain.destination.startswith("smtp:"):
        return
    rest = domain.destination.removeprefix("smtp:")
    host, _, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    host = (host or rest).strip("[]").lower()
    place = (*where, "destination")
    if host in draft.roles:
        found = f"{domain.destination}, a host of the fleet"
        yield draft.in_file(place, found, "the server behind the mx", "Mail would go in a circle.")
    if port.isdigit() and not 1 <= int(port) <= 65535:
        yield draft.in_file(place, f"the port {port}", "a port from 1 to 65535")


def _mentioned(draft: Draft) -> Iterator[Problem]:
    """Addresses in our own domains that our own mx would refuse."""
    general = draft.sections.fleet
    places: list[tuple[Where, str]] = []
    if general is not None:
        places.append((("fleet", "contact"), general.contact))
    if draft.sections.acme.contact is not None:
        places.append((("acme", "contact"), draft.sections.acme.contact))
    for name, domain in draft.sections.domains.items():
        where = ("domains", name, "dmarc", "rua")
        places += [((*where, index), rua) for index, rua in enumerate(domain.dmarc.rua)]
    for place, address in places:
        domain_name = address.rpartition("@")[2]
        known = draft.recipients.get(domain_name)
        if known is not None and address.lower() not in known:
            yield draft.in_file(
                place,
                f"{address}, which is no recipient",
                f"an address in recipients/{domain_name}",
                "Mail to it would be refused.",
                severity=Severity.WARNING,
            )
