"""All checks of one message, and the Authentication-Results field that sums them up."""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.utils import getaddresses

from mailfleet.lab.providers.dkim import check_dkim
from mailfleet.lab.providers.dmarc import check_dmarc
from mailfleet.lab.providers.peer import check_peer
from mailfleet.lab.providers.records import Verdicts
from mailfleet.lab.providers.resolver import Resolver
from mailfleet.lab.providers.spf import check_spf

Headers = tuple[tuple[str, str], ...]


def headers_of(content: bytes) -> Headers:
    """The header fields of a message in their order, unfolded, undecodable bytes replaced."""
    block = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    unfolded = re.sub(rb"\r?\n(?=[ \t])", b"", block)
    fields = []
    for line in unfolded.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.decode("ascii", "replace").strip(), _text(value)))
    return tuple(fields)


def header(headers: Headers, name: str) -> str:
    """The first field of that name with encoded words decoded (RFC 2047), or an empty string."""
    value = next((value for found, value in headers if found.lower() == name.lower()), "")
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError):
        return value


def author_domains(headers: Headers) -> tuple[str, ...]:
    """The domain of every author in every From field, lower case ASCII (A-labels)."""
    values = [value for name, value in headers if name.lower() == "from"]
    return tuple(
        _ascii(address.rpartition("@")[2]) for _, address in getaddresses(values) if "@" in address
    )


def evaluate(
    resolver: Resolver, peer: tuple[str, int], helo: str, sender: str, content: bytes
) -> Verdicts:
    """Judge one message from `peer` (address and port). Asks DNS, so run it in a thread.

    A DNS failure makes the verdict it concerns a temperror; nothing is raised.
    """
    address, port = peer
    spf = check_spf(resolver, address, sender, helo)
    dkim = check_dkim(resolver, content)
    return Verdicts(
        peer=check_peer(resolver, address, port, helo),
        spf=spf,
        spf_helo=check_spf(resolver, address, "", helo) if sender else spf,
        dkim=dkim,
        dmarc=check_dmarc(resolver, author_domains(headers_of(content)), spf, dkim),
    )


def authentication_results(host: str, verdicts: Verdicts) -> str:
    """The value of an Authentication-Results field (RFC 8601) in the name of `host`, folded."""
    peer, spf, dmarc = verdicts.peer, verdicts.spf, verdicts.dmarc
    parts = [
        host,
        f"iprev={_iprev(peer.reverse)}"
        f" policy.iprev={_value(peer.address)}{_comment(peer.ptr or peer.reason)}",
        f"spf={spf.result} smtp.{'mailfrom' if spf.scope == 'mfrom' else 'helo'}"
        f"={_value(spf.domain)}",
    ]
    parts += [
        f"dkim={signature.result}{_comment(signature.reason)}"
        f" header.d={_value(signature.domain)} header.s={_value(signature.selector)}"
        f" header.a={_value(signature.algorithm)}"
        for signature in verdicts.dkim
    ] or ["dkim=none"]
    parts.append(
        f"dmarc={dmarc.result}{_comment(f'p={dmarc.policy} dis={dmarc.disposition}')}"
        f" header.from={_value(dmarc.domain)}"
    )
    return ";\r\n\t".join(parts)


def _iprev(reverse: str) -> str:
    # RFC 8601, 2.7.3: an address without any PTR is a permerror there.
    return "permerror" if reverse == "none" else reverse


def _value(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:_@+=-]", "_", text) or '""'


def _comment(text: str) -> str:
    plain = re.sub(r"[^ -~]|[()\\]", "_", text)
    return f" ({plain})" if plain else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip()


def _ascii(domain: str) -> str:
    lowered = domain.strip().rstrip(".").lower()
    try:
        return lowered.encode("idna").decode("ascii")
    except UnicodeError:
        return lowered
