"""Reading the zones, all at once. A read that fails is an error, never an empty zone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mailfleet.dns.claims import Desired
from mailfleet.dns.draft import NOT_OURS
from mailfleet.dns.errors import ProviderError
from mailfleet.dns.ledger import Ledger
from mailfleet.dns.providers import connect
from mailfleet.dns.providers.base import Capabilities, Provider, World, ZoneView
from mailfleet.dns.providers.manual import Manual
from mailfleet.dns.records import Key, RRset
from mailfleet.fleet.model import Fleet

T = TypeVar("T")
WORKERS = 16


class Providers:
    """The provider of every zone, one a credential, each kept to what it can do in parallel."""

    def __init__(self, of_zone: Mapping[str, Provider]) -> None:
        self._of_zone = of_zone
        self._limits = {
            id(provider): threading.BoundedSemaphore(provider.capabilities.parallel)
            for provider in of_zone.values()
        }

    def of(self, zone: str) -> Provider:
        return self._of_zone[zone]

    def each(self, zones: Iterable[str], work: Callable[[str], T]) -> dict[str, T | Exception]:
        """Do something for every zone, in parallel. An error is a result like any other."""

        def one(zone: str) -> T | Exception:
            with self._limits[id(self._of_zone[zone])]:
                try:
                    return work(zone)
                except Exception as error:  # handed to the caller, who names the zone
                    return error

        names = list(zones)
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                return dict(zip(names, pool.map(one, names), strict=True))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def providers(fleet: Fleet, zones: Iterable[str]) -> Providers:
    """Connect the accounts of these zones. Raises SecretError, ProviderError."""
    accounts: dict[str, Provider] = {}
    result: dict[str, Provider] = {}
    for zone in zones:
        if zone == NOT_OURS:
            result[zone] = Manual("")
            continue
        name = fleet.dns.zones[zone]
        if name not in accounts:
            accounts[name] = connect(name, fleet.dns.accounts[name], fleet.directory)
        result[zone] = accounts[name]
    return Providers(result)


def wanted(desired: Desired, ledger: Ledger) -> dict[str, list[Key]]:
    """The zones a plan needs and the RRsets it asks about in each."""
    result: dict[str, list[Key]] = {}
    for claim in desired.claims:
        result.setdefault(claim.zone or NOT_OURS, []).append(claim.key)
    for zone, entries in ledger.zones.items():
        if zone in desired.zones:
            result.setdefault(zone, []).extend(entries)
    return result


def read(sources: Providers, keys: Mapping[str, Iterable[Key]]) -> World:
    """Every zone as it is now. Raises ProviderError naming every zone that cannot be read."""

    def one(zone: str) -> ZoneView:
        return sources.of(zone).read(zone, list(dict.fromkeys(keys[zone])))

    results = sources.each(keys, one)
    errors = {zone: result for zone, result in results.items() if isinstance(result, Exception)}
    if errors:
        raise together(errors)
    return {zone: view for zone, view in results.items() if isinstance(view, ZoneView)}


def together(errors: Mapping[str, Exception]) -> Exception:
    """The errors of several zones as one, each reason once; a fault of ours as it is."""
    reasons: dict[str, list[str]] = {}
    unreachable = True
    for zone, error in errors.items():
        if not isinstance(error, ProviderError):
            return error
        unreachable = unreachable and error.unreachable
        reasons.setdefault(str(error).removeprefix(f"{zone}: "), []).append(zone)
    lines = [f"{', '.join(filter(None, zones))}: {text}" for text, zones in reasons.items()]
    return ProviderError(
        "\n".join(line.removeprefix(": ") for line in lines), unreachable=unreachable
    )


def empty(desired: Desired) -> World:
    """The zones as if nothing were in them: for a plan without the network."""
    manual = Capabilities(writes=False, lists=False)
    rrsets: dict[Key, RRset] = {}
    zones = {claim.zone or NOT_OURS for claim in desired.claims}
    return {
        zone: ZoneView(
            zone,
            desired.zones.get(zone, ""),
            manual if zone == NOT_OURS else Capabilities(),
            rrsets,
        )
        for zone in sorted(zones)
    }
