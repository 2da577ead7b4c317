"""SPF (RFC 7208) by pyspf, with its questions put to the lab's DNS."""

from __future__ import annotations

import time
from typing import Any, cast, get_args

import spf as pyspf

from mailfleet.lab.providers.records import Spf, SpfResult
from mailfleet.lab.providers.resolver import DnsFailure, Resolver

# RFC 7208, 4.6.4: at least 20 seconds for one evaluation, then temperror.
EVALUATION_SECONDS = 20.0


class _Query(pyspf.query):  # type: ignore[misc]
    """pyspf's evaluation over our resolver: pyspf itself would ask /etc/resolv.conf's servers,
    take no answer within its patience for a missing record on some paths, and keep one resolver a
    process."""

    def __init__(self, resolver: Resolver, address: str, sender: str, helo: str) -> None:
        super().__init__(i=address, s=sender, h=helo, receiver="lab")
        self._resolver = resolver
        self._deadline = time.monotonic() + EVALUATION_SECONDS
        self._answers: dict[tuple[str, str], list[Any]] = {}

    def dns(
        self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False
    ) -> list[Any]:
        """A list in the form pyspf wants; counts void lookups. Raises pyspf's own errors."""
        key = (str(name).rstrip(".").lower(), qtype)
        if key not in self._answers:
            if time.monotonic() > self._deadline:
                raise pyspf.TempError("DNS: the evaluation took too long")
            try:
                self._answers[key] = self._ask(*key)
            except DnsFailure as failure:
                raise pyspf.TempError(f"DNS: {failure}") from failure
        if not self._answers[key] and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > pyspf.MAX_VOID_LOOKUPS:
                raise pyspf.PermError(f"Void lookup limit of {pyspf.MAX_VOID_LOOKUPS} exceeded")
        return self._answers[key]

    def _ask(self, name: str, qtype: str) -> list[Any]:
        if qtype == "TXT":
            return [[text] for text in self._resolver.texts(name)]
        if qtype == "MX":
            return [tuple(mx) for mx in self._resolver.exchangers(name)]
        return [rdata.to_text().rstrip(".") for rdata in self._resolver.lookup(name, qtype)]


def check_spf(resolver: Resolver, address: str, sender: str, helo: str) -> Spf:
    """SPF of the envelope sender, or of HELO when the sender is empty (RFC 7208, 2.4)."""
    domain = sender.rpartition("@")[2] if sender else helo
    query = _Query(resolver, address, sender, helo)
    result, _, explanation = query.check()
    if result not in get_args(SpfResult):
        result = "permerror"
    return Spf(
        result=cast(SpfResult, result),
        scope="mfrom" if sender else "helo",
        domain=domain.rstrip(".").lower(),
        reason="" if result == "pass" else explanation,
    )
