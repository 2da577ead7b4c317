"""What a DNS provider is: a client, a record conversion and a table of capabilities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dns.rdata import Rdata

from mailfleet.dns.changes import Change
from mailfleet.dns.records import Key, RRset


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, so that plan and apply need not know which one it is.

    `writes`: false where a person does it. `lists`: `read` gives the whole zone, not only the
    names asked for. `atomic`: the changes of one call happen all or not at all.
    `compare_and_swap`: the server itself refuses a change whose old values are gone. `batch`:
    changes a call at most (None: no limit). TTLs are in seconds. `marker`: where the provider
    keeps a note of ownership beside a record; without one the ledger alone says it. `parallel`:
    zones that may be worked on at the same time.
    """

    writes: bool = True
    lists: bool = True
    atomic: bool = False
    compare_and_swap: bool = False
    batch: int | None = 1
    ttl_min: int = 0
    ttl_max: int = 2**31 - 1
    marker: Literal["comment", "label"] | None = None
    parallel: int = 4

    def ttl(self, wanted: int | None) -> int | None:
        """The closest TTL that the provider takes."""
        return None if wanted is None else min(max(wanted, self.ttl_min), self.ttl_max)


@dataclass(frozen=True)
class ZoneView:
    """One zone as it was read.

    `complete` is false when only the names asked for are known. `version` is the provider's own
    token for this state of the zone, handed back to it when it writes. `native` is what the
    provider itself calls a record, where that is not its canonical form: an id, another cut of a
    text.
    """

    zone: str
    account: str
    capabilities: Capabilities
    rrsets: Mapping[Key, RRset]
    complete: bool = True
    version: str = ""
    native: Mapping[Key, Mapping[Rdata, object]] = field(default_factory=dict)


World = Mapping[str, ZoneView]


class Provider(Protocol):
    """One account at one provider. Methods may be called from several threads."""

    @property
    def capabilities(self) -> Capabilities: ...

    def describe(self) -> str:
        """What it is, for people: `rfc2136 198.51.100.53`. Never holds a secret."""
        ...

    def read(self, zone: str, wanted: Collection[Key]) -> ZoneView:
        """The zone without what the server makes itself (DNSSEC records).

        `wanted` are the RRsets the caller needs, for providers that cannot list a zone.
        Raises ProviderError; never returns part of a zone as if it were all of it.
        """
        ...

    def write(self, view: ZoneView, changes: Sequence[Change]) -> None:
        """Make changes whose `old` was seen in `view`.

        Returning is not yet success: the caller reads again. Raises Conflict when the server
        refused because the zone had moved (then nothing was changed), ProviderError with `unknown`
        when only reading again can tell, ProviderError otherwise.
        """
        ...
