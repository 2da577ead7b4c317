"""The SPF records that the fleet publishes (RFC 7208). Checking them is `lint`'s."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailfleet.fleet.model import IPAddress

# RFC 7208 section 3.4: under 450 bytes, the whole answer fits in 512 bytes of UDP.
MAX_BYTES = 450


def domain_record(senders: str, include: Iterable[str], all_: str) -> str:
    """The record at a domain: our senders, third parties, and what holds for the rest."""
    return " ".join(["v=spf1", *(f"include:{name}" for name in (senders, *include)), all_])


def sender_records(base: str, addresses: Sequence[IPAddress]) -> list[tuple[str, str]]:
    """Name and text of the record that lists the addresses, and of its parts when it is long.

    One record up to 450 bytes; beyond that `base` includes `_spf1.…`, `_spf2.…`, each a lookup.
    """
    terms = [f"ip{address.version}:{address}" for address in addresses]
    parts = _parts(terms)
    if len(parts) == 1:
        return [(base, _record(parts[0]))]
    label, _, zone = base.partition(".")
    names = [f"{label}{number}.{zone}" for number in range(1, len(parts) + 1)]
    whole = (base, _record([f"include:{name}" for name in names]))
    return [whole, *((name, _record(part)) for name, part in zip(names, parts, strict=True))]


def _record(terms: Iterable[str]) -> str:
    return " ".join(["v=spf1", *terms, "-all"])


def _parts(terms: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for term in terms:
        if parts[-1] and len(_record([*parts[-1], term])) > MAX_BYTES:
            parts.append([])
        parts[-1].append(term)
    return parts
