"""DKIM (RFC 6376) by dkimpy: every signature of a message, each with its own verdict."""

from __future__ import annotations

import logging

import dkim as dkimpy
from dkim.util import InvalidTagValueList, parse_tag_value

from mailfleet.lab.providers.records import Dkim, DkimResult
from mailfleet.lab.providers.resolver import DnsFailure, Resolver

# RFC 6376, 6.1: a verifier may limit the signatures it tries. Google looks at ten or so.
MAX_SIGNATURES = 10
# dkimpy logs what it also raises or returns.
_SILENT = logging.getLogger(f"{__name__}.dkimpy")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


# What dkimpy raises for fields that are no DKIM fields at all, beside its own errors.
_MALFORMED = (dkimpy.DKIMException, ValueError, LookupError, TypeError)


class _Unusable(Exception):
    """There is no key to verify with, now or ever, depending on `result`."""

    def __init__(self, result: DkimResult, reason: str) -> None:
        super().__init__(reason)
        self.result: DkimResult = result


class _Key:
    """Fetches the key record of one signature and keeps what it says."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.bits: int | None = None
        self.testing = False

    def __call__(self, name: bytes, timeout: float = 0) -> bytes:
        """The key record, as dkimpy wants it. Raises _Unusable, which dkimpy lets through."""
        owner = name.decode("utf-8", "replace")
        try:
            texts = self._resolver.texts(owner)
        except DnsFailure as failure:
            raise _Unusable("temperror", str(failure)) from failure
        if not texts:
            raise _Unusable("permerror", f"no key at {owner}")
        if len(texts) > 1:
            # RFC 6376, 3.6.2.2: the result is undefined; nobody should rely on it.
            raise _Unusable("permerror", f"{len(texts)} key records at {owner}")
        self._read(owner, texts[0])
        return texts[0]

    def _read(self, owner: str, text: bytes) -> None:
        try:
            tags = parse_tag_value(text)
        except InvalidTagValueList as error:
            raise _Unusable("permerror", f"unreadable key at {owner}: {error}") from error
        if tags.get(b"p", b"").strip() == b"":
            raise _Unusable("permerror", f"the key at {owner} is revoked")
        try:
            _, self.bits, _, _ = dkimpy.evaluate_pk(owner, text)
        except _MALFORMED as error:
            raise _Unusable("permerror", f"unusable key at {owner}: {error}") from error
        self.testing = b"y" in tags.get(b"t", b"").split(b":")


def check_dkim(resolver: Resolver, content: bytes) -> tuple[Dkim, ...]:
    """A verdict for each DKIM-Signature field from the top; empty when there is none."""
    try:
        message = dkimpy.DKIM(content, logger=_SILENT)
    except _MALFORMED as error:
        return (
            Dkim(result="permerror", domain="", selector="", reason=f"unreadable header: {error}"),
        )
    fields = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
    return tuple(
        _check_signature(resolver, content, index, field)
        for index, field in enumerate(fields[:MAX_SIGNATURES])
    )


def _check_signature(resolver: Resolver, content: bytes, index: int, field: bytes) -> Dkim:
    key = _Key(resolver)
    tags = _tags(field)
    result, reason = _verify(content, index, tags, key)
    return Dkim(
        result=result,
        domain=tags.get("d", "").lower(),
        selector=tags.get("s", ""),
        algorithm=tags.get("a", ""),
        key_bits=key.bits,
        identity=tags.get("i", ""),
        testing=key.testing,
        reason=reason,
    )


def _verify(content: bytes, index: int, tags: dict[str, str], key: _Key) -> tuple[DkimResult, str]:
    signed = [name.strip().lower() for name in tags.get("h", "").split(":")]
    if "h" in tags and "from" not in signed:
        return "permerror", "the signature does not cover From (RFC 6376, 6.1.1)"
    # minkey 0: the size is judged by _acceptable, with a reason, and after the signature itself.
    verifier = dkimpy.DKIM(content, logger=_SILENT, minkey=0)
    try:
        if not verifier.verify(index, dnsfunc=key):
            return "fail", "the signature does not match"
    except _Unusable as error:
        return error.result, str(error)
    except _MALFORMED as error:
        return ("fail" if "body hash mismatch" in str(error) else "permerror"), str(error)
    return _acceptable(tags.get("a", ""), key.bits)


def _acceptable(algorithm: str, bits: int | None) -> tuple[DkimResult, str]:
    if algorithm == "rsa-sha1":
        return "policy", "rsa-sha1 is not accepted any more (RFC 8301, 3.1)"
    if algorithm.startswith("rsa") and bits is not None and bits < 1024:
        return "policy", f"a key of {bits} bits is under 1024 (RFC 8301, 3.2)"
    return "pass", ""


def _tags(field: bytes) -> dict[str, str]:
    try:
        tags = parse_tag_value(field)
    except InvalidTagValueList:
        return {}
    return {
        name.decode("ascii", "replace"): b"".join(value.split()).decode("utf-8", "replace")
        for name, value in tags.items()
    }
