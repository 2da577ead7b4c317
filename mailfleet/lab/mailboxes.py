"""Starting the simulated mailbox providers (`mailfleet.lab.providers`)."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path

from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import Layout
from mailfleet.lab.network import wait_for_port
from mailfleet.lab.processes import log_tail, runs, service, spawn
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.world import NAME_SERVERS


def service_name(provider: str) -> str:
    """The lab service of a provider."""
    return f"provider:{provider}"


def directory(lab: Layout, provider: str) -> Path:
    """Where a provider keeps messages, verdicts and its instructions."""
    return lab.directory / "providers" / provider


def start(lab: Layout, name: str) -> None:
    """Start a provider unless it runs. Raises LabError when it does not come up."""
    label = service_name(name)
    if not service(lab, label):
        argv = [sys.executable, "-m", "mailfleet.lab.providers", name]
        argv += ["--directory", str(directory(lab, name))]
        for pair in NAME_SERVERS.values():
            argv += ["--dns", str(pair[0])]
        spawn(lab, label, argv, env={"PYTHONUNBUFFERED": "1"})
    address = ip_address(PROVIDERS[name].ipv4)
    up = wait_for_port(lab, address, 25, timeout=30, banner=True, lives=lambda: runs(lab, label))
    if not up:
        raise LabError(f"The mailbox provider {name} does not start:\n{log_tail(lab, label)}")
