"""DNS: every name and address that gets a record has a zone, every zone an account."""

from __future__ import annotations

from collections.abc import Iterator

from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.validate import did_you_mean, words

_REVERSE = (".in-addr.arpa", ".ip6.arpa")


def check(draft: Draft) -> Iterator[Problem]:
    """Accounts and zones, from both sides."""
    yield from _accounts(draft)
    yield from _missing_zones(draft)
    yield from _missing_reverse_zones(draft)
    yield from _idle_zones(draft)


def _within(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def _accounts(draft: Draft) -> Iterator[Problem]:
    dns = draft.sections.dns
    known = draft.declared("dns", "accounts")
    for zone, account in (dns.zones if dns else {}).items():
        if account not in known:
            accepted = f"an account of dns.accounts: {words(known)}"
            hint = did_you_mean(account, known)
            found = f'the unknown account "{account}"'
            yield draft.in_file(("dns", "zones", zone), found, accepted, hint)
    used = set(dns.zones.values()) if dns else set(known)
    for account in known:
        if account not in used and draft.file_complete:
            yield draft.in_file(
                ("dns", "accounts", account),
                "an account that holds no zone",
                "accounts that dns.zones names",
                key=True,
                severity=Severity.WARNING,
            )


def _missing_zones(draft: Draft) -> Iterator[Problem]:
    if draft.sections.dns is None:
        return
    zones = draft.declared("dns", "zones")
    accepted = f"a name in one of the zones of dns.zones: {words(_forward(zones))}"
    hint = "Add its zone to dns.zones."
    general = draft.sections.fleet
    if general is not None and not any(_within(general.zone, zone) for zone in zones):
        found = f"{general.zone}, which is in no zone"
        yield draft.in_file(("fleet", "zone"), found, accepted, hint)
    for name in draft.sections.domains:
        if not any(_within(name, zone) for zone in zones):
            found = "a domain in no zone"
            yield draft.in_file(("domains", name), found, accepted, hint, key=True)


def _missing_reverse_zones(draft: Draft) -> Iterator[Problem]:
    if draft.sections.dns is None:
        return
    zones = draft.declared("dns", "zones")
    for entry, host in draft.hosts:
        for address in host.addresses if host else ():
            if any(_within(address.reverse_pointer, zone) for zone in zones):
                continue
            yield draft.in_host(
                entry,
                f"ipv{address.version}",
                f"{address}, whose reverse zone is not in dns.zones",
                f"a zone around {address.reverse_pointer} in dns.zones",
                f"Until then you have to see to its PTR yourself: it must be {entry.name}.",
                severity=Severity.WARNING,
            )


def _idle_zones(draft: Draft) -> Iterator[Problem]:
    if not (draft.file_complete and draft.hosts_complete):
        return
    general = draft.sections.fleet
    names = [*draft.declared("domains"), *(entry.name for entry, _ in draft.hosts)]
    names += [general.zone] if general else []
    names += [
        address.reverse_pointer for _, host in draft.hosts if host for address in host.addresses
    ]
    for zone in draft.declared("dns", "zones"):
        if not any(_within(name, zone) for name in names):
            what = "address" if zone.endswith(_REVERSE) else "domain or host"
            yield draft.in_file(
                ("dns", "zones", zone),
                f"a zone with no {what} of the fleet in it",
                "zones that something of the fleet is in",
                key=True,
                severity=Severity.WARNING,
            )


def _forward(zones: tuple[str, ...]) -> list[str]:
    return [zone for zone in zones if not zone.endswith(_REVERSE)]
