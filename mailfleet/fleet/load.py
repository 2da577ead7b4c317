"""From a fleet directory to a `Fleet`. (First cut: errors are still tracebacks.)"""

from __future__ import annotations

import os
import runpy
from functools import lru_cache
from pathlib import Path

import yaml

from mailfleet.fleet.model import Domain, Fleet, Host, Role

GROUPS = {"senders": Role.SENDER, "mx": Role.MX, "backup_mx": Role.BACKUP_MX}
_HOST_FIELDS = set(Host.model_fields) - {"name", "role", "region"}


def fleet_directory() -> Path:
    """The fleet directory in force: MAILFLEET_FLEET (the CLI sets it), else the working one."""
    return Path(os.environ.get("MAILFLEET_FLEET", ".")).resolve()


@lru_cache
def load(directory: Path) -> Fleet:
    """Read `fleet.yml`, `inventories/*.py` and `recipients/*`."""
    data = yaml.safe_load((directory / "fleet.yml").read_text())
    hosts = []
    for path in sorted((directory / "inventories").glob("*.py")):
        inventory = runpy.run_path(str(path))
        for group, role in GROUPS.items():
            for name, values in inventory.get(group, []):
                known = {k: v for k, v in values.items() if k in _HOST_FIELDS}
                hosts.append(Host(name=name, role=role, region=path.stem, **known))
    domains = tuple(Domain(name=n, **(v or {})) for n, v in data["domains"].items())
    recipients = {}
    for domain in domains:
        path = directory / "recipients" / domain.name
        text = path.read_text() if path.exists() else ""
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        full = {line if "@" in line else f"{line}@{domain.name}" for line in lines}
        full |= {f"postmaster@{domain.name}", f"abuse@{domain.name}"}
        recipients[domain.name] = tuple(sorted(full))
    return Fleet(
        directory=directory,
        general=data["fleet"],
        acme=data.get("acme") or {},
        dns=data["dns"],
        pools=data.get("pools") or {},
        domains=domains,
        warmup=data.get("warmup") or {},
        filters=data.get("filters") or {},
        hosts=tuple(hosts),
        recipients=recipients,
    )
