"""From a dry run to a plan: which hosts change, what, and in which order they are taken.

Pure functions. A host that has never been through a whole deploy serves nobody yet, so all such
hosts are set up side by side. A host that may be in service is changed region after region, one
host first (the canary), then the rest of its region; nothing goes on after a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts.changes import Change
from mailfleet.hosts.files import DEPLOYED
from mailfleet.hosts.results import HostResult


class SelectionError(Exception):
    """A region or host was asked for that the fleet does not have."""


@dataclass(frozen=True)
class HostPlan:
    """What a deploy would do to one host. `new`: it has never been deployed completely."""

    host: Host
    changes: tuple[Change, ...]
    operations: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        return any(c.subject == DEPLOYED and c.action == "create" for c in self.changes)


@dataclass(frozen=True)
class Wave:
    """Hosts that are changed at the same time."""

    title: str
    hosts: tuple[Host, ...]


@dataclass(frozen=True)
class Plan:
    """What a deploy would do; `unreachable` and `failed` hosts are left alone."""

    hosts: tuple[HostPlan, ...]
    unreachable: tuple[HostResult, ...] = ()
    failed: tuple[HostResult, ...] = ()

    @property
    def changing(self) -> tuple[HostPlan, ...]:
        return tuple(each for each in self.hosts if each.operations)


def select(fleet: Fleet, regions: Sequence[str], limits: Sequence[str]) -> tuple[Host, ...]:
    """The hosts of some regions (all when none is named) that match a name or pattern.

    Raises SelectionError for a region without hosts or a limit that matches nobody.
    """
    for region in regions:
        if region not in fleet.regions:
            raise SelectionError(
                f"There is no region {region!r}; the fleet has {', '.join(fleet.regions)}"
            )
    chosen = tuple(h for h in fleet.hosts if not regions or h.region in regions)
    if not limits:
        return chosen
    for limit in limits:
        if not any(fnmatchcase(host.name, limit) for host in chosen):
            names = ", ".join(host.name for host in chosen)
            raise SelectionError(f"--limit {limit!r} matches no host; there are {names}")
    return tuple(h for h in chosen if any(fnmatchcase(h.name, limit) for limit in limits))


def plan(hosts: Iterable[Host], results: Iterable[HostResult]) -> Plan:
    """The plan that a dry run's results amount to."""
    by_name = {result.name: result for result in results}
    judged = [(host, by_name[host.name]) for host in hosts]
    bad = [result for _, result in judged if not result.ok]
    return Plan(
        hosts=tuple(HostPlan(h, r.changes, r.operations, r.notes) for h, r in judged if r.ok),
        unreachable=tuple(result for result in bad if result.status == "unreachable"),
        failed=tuple(result for result in bad if result.status != "unreachable"),
    )


def waves(plan: Plan) -> tuple[Wave, ...]:
    """The order in which a plan is carried out."""
    new = tuple(each.host for each in plan.changing if each.new)
    order = [Wave("new hosts", new)] if new else []
    serving = [each.host for each in plan.changing if not each.new]
    for region in dict.fromkeys(host.region for host in serving):
        canary, *rest = [host for host in serving if host.region == region]
        order.append(Wave(f"{region}, canary", (canary,)))
        if rest:
            order.append(Wave(f"{region}, the rest", tuple(rest)))
    return tuple(order)
