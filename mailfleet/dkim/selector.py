"""DKIM selectors: one per host and period, so that a leaked or retired key has a name of its own.

`mta1.eu.example.net` in the zone `example.net` signs with `mta1-eu-202611` if its key was made in
November 2026. Selectors are DNS labels (RFC 6376 section 3.1).
"""

from __future__ import annotations

import hashlib
import re
from datetime import date

# What our selectors look like; other keys in the same directory are somebody else's.
SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?-(?P<period>[0-9]{6})")
_LONGEST_STEM = 63 - len("-YYYYMM")


def stem_of(hostname: str, zone: str) -> str:
    """What the selectors of a host begin with: its labels below the fleet's zone, with dashes."""
    below = hostname.removesuffix("." + zone)
    stem = below.replace(".", "-").replace("_", "-")
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.sha256(hostname.encode()).hexdigest()[:8]
        stem = f"{stem[: _LONGEST_STEM - 9].rstrip('-')}-{digest}"
    return stem


def selector_for(hostname: str, zone: str, today: date) -> str:
    """The selector of a key that is made today."""
    return f"{stem_of(hostname, zone)}-{today:%Y%m}"


def newest(selectors: tuple[str, ...] | list[str] | set[str]) -> str | None:
    """The selector with the latest period; None when there is none of ours."""
    dated = [
        (match["period"], selector)
        for selector in selectors
        if (match := SELECTOR.fullmatch(selector)) is not None
    ]
    return max(dated)[1] if dated else None
