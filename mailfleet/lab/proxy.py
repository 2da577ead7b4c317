"""Starting the package proxy (`mailfleet.lab.packages`) between the lab and the mirrors."""

from __future__ import annotations

import os
import socket
import sys

from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import Layout
from mailfleet.lab.mirrors import Mirrors
from mailfleet.lab.network import inside, wait_for_port
from mailfleet.lab.processes import log_tail, runs, service, spawn
from mailfleet.lab.world import PACKAGES, PACKAGES_PORT

NAME = "packages"


def start(lab: Layout, mirrors: Mirrors) -> None:
    """Start the proxy unless it runs. Raises LabError when it does not come up."""
    if not service(lab, NAME):
        # Made in the namespace and handed over: the proxy itself never enters it, and the
        # namespace never gets a way out.
        listener = inside(lab, _listener)
        with listener:
            argv = [sys.executable, "-m", "mailfleet.lab.packages"]
            argv += ["--descriptor", str(listener.fileno()), "--cache", str(lab.packages)]
            for url in mirrors.upstreams:
                argv += ["--mirror", url]
            env = {"PYTHONUNBUFFERED": "1"}
            if mirrors.proxy and "http_proxy" not in os.environ:
                env["http_proxy"] = mirrors.proxy
            spawn(lab, NAME, argv, inside=False, env=env, descriptors=(listener.fileno(),))
    if not wait_for_port(lab, PACKAGES, PACKAGES_PORT, timeout=15, lives=lambda: runs(lab, NAME)):
        raise LabError(f"The package proxy does not start:\n{log_tail(lab, NAME)}")


def _listener() -> socket.socket:
    return socket.create_server((str(PACKAGES), PACKAGES_PORT), backlog=64)
