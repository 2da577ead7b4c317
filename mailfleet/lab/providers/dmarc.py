"""DMARC (RFC 7489): the author domain's policy, and whether SPF or DKIM speak for that domain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, cast, get_args

from publicsuffixlist import PublicSuffixList

from mailfleet.lab.providers.records import Dkim, Dmarc, Policy, Spf
from mailfleet.lab.providers.resolver import DnsFailure, Resolver

# RFC 7489, 6.4: first, in this case, and nothing in front of it.
_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(;|$)")


class _Record(NamedTuple):
    """A published policy: the domain it was found at, its text and its tags."""

    domain: str
    text: str
    tags: dict[str, str]

    def policy(self, author: str) -> Policy:
        """p=, or sp= where the author domain is a subdomain of the policy's (RFC 7489, 6.3)."""
        value = self.tags["p"]
        if author != self.domain:
            value = self.tags.get("sp", value)
        # RFC 7489, 6.6.3, step 6: an unknown value counts as none when reports are wanted.
        return cast(Policy, value) if value in get_args(Policy) else "none"


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def organizational_domain(domain: str) -> str:
    """The registered domain above a name (RFC 7489, 3.2), itself where there is none."""
    return str(_suffixes().privatesuffix(domain) or domain)


def aligned(authenticated: str, author: str, mode: str) -> bool:
    """Identifier alignment: `s` wants the same domain, anything else the same organization."""
    if not authenticated:
        return False
    if mode == "s":
        return authenticated == author
    return organizational_domain(authenticated) == organizational_domain(author)


def check_dmarc(
    resolver: Resolver, authors: Sequence[str], spf: Spf, dkim: Sequence[Dkim]
) -> Dmarc:
    """`authors` are the domains of the From field, lower case; more or fewer than one is a
    permerror, because there is no single author to judge (RFC 7489, 6.6.1)."""
    if len(set(authors)) != 1:
        found = ", ".join(authors) or "none"
        return Dmarc(
            result="permerror",
            domain=authors[0] if authors else "",
            reason=f"a message needs one author domain in one From field, found: {found}",
        )
    author = authors[0]
    try:
        record, reason = _discover(resolver, author)
    except DnsFailure as failure:
        return Dmarc(result="temperror", domain=author, reason=str(failure))
    modes = {"aspf": "r", "adkim": "r"} | (record.tags if record else {})
    by_spf = aligned(spf.domain, author, modes["aspf"])
    by_dkim = [d for d in dkim if aligned(d.domain, author, modes["adkim"])]
    passed = (by_spf and spf.result == "pass") or any(d.result == "pass" for d in by_dkim)
    undecided = (by_spf and spf.result == "temperror") or any(
        d.result == "temperror" for d in by_dkim
    )
    if record is None:
        return Dmarc(
            result="none",
            domain=author,
            spf_aligned=by_spf and spf.result == "pass",
            dkim_aligned=any(d.result == "pass" for d in by_dkim),
            reason=reason,
        )
    policy = record.policy(author)
    return Dmarc(
        result="pass" if passed else "temperror" if undecided else "fail",
        domain=author,
        policy_domain=record.domain,
        record=record.text,
        policy=policy,
        spf_aligned=by_spf and spf.result == "pass",
        dkim_aligned=any(d.result == "pass" for d in by_dkim),
        disposition="none" if passed or undecided else policy,
        reason="" if passed else "neither SPF nor DKIM passed for a domain aligned with From",
    )


def _discover(resolver: Resolver, author: str) -> tuple[_Record | None, str]:
    """RFC 7489, 6.6.3: the domain's own record, else its organizational domain's."""
    reason = "no DMARC record"
    for domain in dict.fromkeys((author, organizational_domain(author))):
        found = [
            text.decode("utf-8", "replace")
            for text in resolver.texts(f"_dmarc.{domain}")
            if _VERSION.match(text)
        ]
        if len(found) > 1:
            return None, f"{len(found)} DMARC records at _dmarc.{domain}: none of them counts"
        if found:
            tags = _tags(found[0])
            if tags.get("p") not in get_args(Policy) and "rua" not in tags:
                return None, f"the record at _dmarc.{domain} has no valid p="
            return _Record(domain, found[0], {"p": "none"} | tags), ""
    return None, reason


def _tags(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip().lower() for name, value in pairs}
