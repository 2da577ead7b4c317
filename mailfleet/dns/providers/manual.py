"""A provider without an API: a person enters the records; the DNS itself tells what is there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from mailfleet.dns.changes import Change
from mailfleet.dns.errors import ProviderError
from mailfleet.dns.providers.base import Capabilities, ZoneView
from mailfleet.dns.records import Key, RRset
from mailfleet.dns.servers import Authorities, NoServers

PARALLEL = 16


class Manual:
    """Reads what is asked for from the authoritative servers, and writes nothing."""

    capabilities = Capabilities(writes=False, lists=False, batch=None)

    def __init__(self, name: str, authorities: Authorities | None = None) -> None:
        self._name = name
        self._authorities = authorities or Authorities()

    def describe(self) -> str:
        """`manual`, and the account's name where it has one."""
        return f"manual (account {self._name})" if self._name else "manual"

    def read(self, zone: str, wanted: Collection[Key]) -> ZoneView:
        """The RRsets asked for. A zone that does not exist yet has none of them."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = [rrset for rrset in pool.map(self._one, wanted) if rrset is not None]
        rrsets = {rrset.key: rrset for rrset in found}
        return ZoneView(zone, self._name, self.capabilities, rrsets, complete=False)

    def write(self, view: ZoneView, changes: Sequence[Change]) -> None:
        """Nobody can: raises ProviderError."""
        raise ProviderError(f"{view.zone}: {self.describe()} has no API; enter the records there.")

    def _one(self, key: Key) -> RRset | None:
        try:
            answer = self._authorities.lookup(*key)
        except NoServers as error:
            raise ProviderError(str(error), unreachable=True) from error
        if answer.status in ("answer", "nothing"):
            return answer.rrset
        raise ProviderError(
            f"{key[0]}: its name servers could not be asked: {answer.reason}. "
            "Check the network of this machine and the delegation of the zone.",
            unreachable=True,
        )
