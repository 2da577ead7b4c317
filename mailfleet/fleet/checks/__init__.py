"""What must be right across sections, inventories and recipient files."""

from __future__ import annotations

from collections.abc import Iterator

from mailfleet.fleet.checks import dns, domains, hosts, pools, secrets
from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem


def check(draft: Draft) -> Iterator[Problem]:
    """Everything that is wrong or doubtful, in no particular order."""
    for module in (hosts, domains, pools, dns, secrets):
        yield from module.check(draft)
