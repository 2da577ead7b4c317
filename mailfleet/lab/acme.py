"""The lab's certificate authority: pebble, an ACME server (RFC 8555) made for tests."""

from __future__ import annotations

import json
import ssl
import urllib.request

from mailfleet.lab import keys
from mailfleet.lab.errors import LabError
from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout
from mailfleet.lab.network import inside, wait_for_port
from mailfleet.lab.processes import log_tail, runs, service, spawn
from mailfleet.lab.world import ACME, ACME_MANAGEMENT_PORT, ACME_NAME, ACME_PORT, NAME_SERVERS

NAME = "acme"


def start(lab: Layout) -> None:
    """Start pebble unless it runs. Raises LabError when it does not come up."""
    if not service(lab, NAME):
        keys.issue(lab, ACME_NAME, (ACME,))
        settings = {
            "listenAddress": f"{ACME}:{ACME_PORT}",
            "managementListenAddress": f"{ACME}:{ACME_MANAGEMENT_PORT}",
            "certificate": str(lab.secrets / f"{ACME_NAME}.pem"),
            "privateKey": str(lab.secrets / f"{ACME_NAME}.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        path = lab.directory / "pebble.json"
        write(path, json.dumps({"pebble": settings}, indent=2))
        resolver = next(iter(NAME_SERVERS.values()))[0]
        argv = ["pebble", "-config", str(path), "-dnsserver", f"{resolver}:53"]
        # No random waits, no refused nonces: pebble's way of finding careless clients.
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        spawn(lab, NAME, argv, env=env)
    for port in (ACME_PORT, ACME_MANAGEMENT_PORT):
        if not wait_for_port(lab, ACME, port, timeout=20, lives=lambda: runs(lab, NAME)):
            raise LabError(f"pebble does not start:\n{log_tail(lab, NAME)}")


def roots(lab: Layout) -> str:
    """The root certificate pebble issues under (made anew at each start of pebble), as PEM."""

    def fetch() -> str:
        context = ssl.create_default_context(cafile=str(lab.secrets / "ca.pem"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"https://{ACME}:{ACME_MANAGEMENT_PORT}/roots/0", timeout=10) as answer:
            return str(answer.read().decode())

    return inside(lab, fetch)
