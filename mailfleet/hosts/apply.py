"""Runs deploy/site.py on hosts: dry for a plan, in waves for real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts.plan import Wave
from mailfleet.hosts.results import Event, Result
from mailfleet.hosts.runner import Job, run

Listener = Callable[[Event], None]


def deploy_file(fleet: Fleet, name: str) -> Path:
    """A deploy file: the fleet directory's own where it has one, else mailfleet's."""
    own = fleet.directory / "deploy" / name
    return own if own.is_file() else Path(import_module("mailfleet.deploy").__path__[0]) / name


def jobs(fleet: Fleet, hosts: Sequence[Host], deploy: str, dry: bool = False) -> tuple[Job, ...]:
    """One job a region for these hosts and a file of deploy/."""
    by_region: dict[str, list[str]] = {}
    for host in hosts:
        by_region.setdefault(host.region, []).append(host.name)
    return tuple(
        Job(
            inventory=fleet.directory / "inventories" / f"{region}.py",
            deploy=deploy_file(fleet, deploy),
            hosts=tuple(names),
            whole=len(names) == sum(host.region == region for host in fleet.hosts),
            dry=dry,
        )
        for region, names in by_region.items()
    )


def dry_run(fleet: Fleet, hosts: Sequence[Host], listener: Listener | None = None) -> Result:
    """What a deploy would change, all regions side by side."""
    return _merged(run(jobs(fleet, hosts, "site.py", dry=True), fleet.directory, listener))


def carry_out(fleet: Fleet, wave: Wave, listener: Listener | None = None) -> Result:
    """Deploy the hosts of a wave. Whoever calls it stops when the result is not ok."""
    return _merged(run(jobs(fleet, wave.hosts, "site.py"), fleet.directory, listener))


def _merged(results: Sequence[Result]) -> Result:
    return Result(
        hosts=tuple(host for result in results for host in result.hosts),
        seconds=max((result.seconds for result in results), default=0.0),
        error="\n".join(result.error for result in results if result.error),
    )
