"""DNS data as values: names as text, record data as dnspython's types, always in one form.

The form is canonical, so equal data is equal here: names in lower case without the final dot,
names inside record data in lower case, TXT cut into strings of 255 bytes whatever the server's
own cut was (`"ab" "c"` and `"abc"` are the same text, RFC 7208 section 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias, TypedDict, cast

import dns.name
import dns.rdata
import dns.rdataclass
import dns.reversename
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

# A name (lower case, no final dot) and a type: what an RRset is found by.
Key: TypeAlias = tuple[str, RdataType]

_IN = dns.rdataclass.IN
_STRINGS = frozenset({RdataType.TXT, RdataType.SPF})
# Types whose data holds names that compare without case (RFC 4034 section 6.2).
_NAMES = frozenset(
    {RdataType.MX, RdataType.CNAME, RdataType.NS, RdataType.PTR, RdataType.SRV, RdataType.DNAME}
)
# Bytes that stand for themselves between quotes (RFC 1035 section 5.1).
_PLAIN = re.compile(rb"[ !#-\[\]-~]*").fullmatch


class RRsetJson(TypedDict):
    """An RRset as plain data."""

    ttl: int | None
    values: list[str]


@dataclass(frozen=True, slots=True)
class RRset:
    """All records of one name and type. `ttl` is in seconds; None is "as it is"."""

    name: str
    rdtype: RdataType
    ttl: int | None
    rdatas: frozenset[dns.rdata.Rdata]

    @property
    def key(self) -> Key:
        return (self.name, self.rdtype)

    @property
    def texts(self) -> tuple[str, ...]:
        """The records in presentation form, in DNSSEC's order (an MX by its preference)."""
        rdatas = self.rdatas if len(self.rdatas) == 1 else sorted(self.rdatas)
        return tuple(presentation(rdata) for rdata in rdatas)

    def as_json(self) -> RRsetJson:
        return {"ttl": self.ttl, "values": list(self.texts)}

    @classmethod
    def from_json(cls, name: str, rdtype: RdataType, value: RRsetJson) -> RRset:
        return rrset(name, rdtype, value["ttl"], value["values"])


def rrset(name: str, rdtype: RdataType, ttl: int | None, texts: Iterable[str]) -> RRset:
    """An RRset from presentation form, names absolute. Raises dns.exception.SyntaxError."""
    rdatas = frozenset(parse(rdtype, text) for text in texts)
    return RRset(canonical_name(name), rdtype, ttl, rdatas)


@lru_cache(maxsize=8192)
def parse(rdtype: RdataType, text: str) -> dns.rdata.Rdata:
    """Canonical record data from presentation form. Raises dns.exception.SyntaxError."""
    return canonical(dns.rdata.from_text(_IN, rdtype, text, origin=dns.name.root, relativize=False))


def canonical(rdata: dns.rdata.Rdata) -> dns.rdata.Rdata:
    """The one form that stands for everything equal to this record."""
    if rdata.rdtype in _STRINGS:
        strings: tuple[bytes, ...] = rdata.strings  # type: ignore[attr-defined]
        joined = b"".join(strings)
        chunks = tuple(joined[i : i + 255] for i in range(0, len(joined), 255)) or (b"",)
        return rdata if chunks == strings else rdata.replace(strings=chunks)
    if rdata.rdtype in _NAMES:
        wire = rdata.to_digestable(dns.name.root)
        return dns.rdata.from_wire(_IN, rdata.rdtype, wire, 0, len(wire))
    return rdata


def presentation(rdata: dns.rdata.Rdata) -> str:
    """Record data as zone files have it; what dnspython gives, without its price for plain text.

    It looks at every byte of a text in Python: ten microseconds for an address, a hundred for a
    DKIM key. Keys and SPF records have no byte that needs it.
    """
    if rdata.rdtype in _STRINGS:
        strings: tuple[bytes, ...] = rdata.strings  # type: ignore[attr-defined]
        if all(_PLAIN(string) for string in strings):
            return " ".join(f'"{string.decode()}"' for string in strings)
    return rdata.to_text()


def canonical_name(name: str | dns.name.Name) -> str:
    """A name in lower case without the final dot; the root is the empty text."""
    text = name if isinstance(name, str) else name.to_text()
    return text.lower().rstrip(".")


def longest_zone(name: str, zones: Iterable[str]) -> str | None:
    """The closest enclosing zone of those given, or None."""
    known = zones if isinstance(zones, (set, frozenset, dict)) else frozenset(zones)
    while name:
        if name in known:
            return name
        name = name.partition(".")[2]
    return None


def sort_key(key: Key) -> tuple[list[str], str]:
    """Order of the zone's tree: a name before what lies below it, then by type."""
    name, rdtype = key
    return name.split(".")[::-1], RdataType.to_text(rdtype)


def key_text(key: Key) -> str:
    """`NAME/TYPE`, as `--adopt` takes it."""
    return f"{key[0]}/{RdataType.to_text(key[1])}"


def key_from_text(text: str) -> Key:
    """The key of `NAME/TYPE`. Raises ValueError saying what is accepted."""
    name, slash, kind = text.rpartition("/")
    if not slash or not name:
        raise ValueError(f"{text!r} is not NAME/TYPE, for example example.com/MX")
    try:
        return canonical_name(name), RdataType.from_text(kind)
    except Exception as error:
        raise ValueError(f"{kind!r} is not a record type, for example TXT") from error


@lru_cache(maxsize=8192)
def txt(text: str) -> dns.rdata.Rdata:
    """TXT data holding this text, cut into strings of at most 255 bytes."""
    data = text.encode()
    chunks = [data[i : i + 255] for i in range(0, len(data), 255)] or [b""]
    return TXT(_IN, RdataType.TXT, chunks)


def txt_text(rdata: dns.rdata.Rdata) -> str:
    """The joined bytes of TXT data as text (bytes that are not UTF-8 are escaped)."""
    strings = cast(tuple[bytes, ...], rdata.strings)  # type: ignore[attr-defined]
    return b"".join(strings).decode("utf-8", "backslashreplace")


def address(value: IPv4Address | IPv6Address) -> dns.rdata.Rdata:
    """A or AAAA data."""
    return parse(RdataType.A if value.version == 4 else RdataType.AAAA, str(value))


def reverse_name(value: IPv4Address | IPv6Address) -> str:
    """Where the PTR of an address is."""
    return canonical_name(dns.reversename.from_address(str(value)))
