"""A provider and a name server on loopback, and a sending domain that does everything right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_dns_server import DnsServer
from lab_simulator import DOMAIN, HOST, SELECTOR, Key, Simulator

from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.providers.resolver import Resolver


@pytest.fixture(scope="session")
def key() -> Key:
    return Key.make()


@pytest.fixture(scope="session")
def other_key() -> Key:
    return Key.make()


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
def zone(dns_server: DnsServer, key: Key) -> DnsServer:
    """The sending host is 127.0.0.1, with everything as it should be."""
    dns_server.add(DOMAIN, "MX", f"10 {HOST}.")
    dns_server.text(DOMAIN, "v=spf1 ip4:127.0.0.1 -all")
    dns_server.text(f"_dmarc.{DOMAIN}", "v=DMARC1; p=reject; sp=quarantine")
    dns_server.text(f"{SELECTOR}._domainkey.{DOMAIN}", key.record)
    dns_server.add(HOST, "A", "127.0.0.1")
    dns_server.add("1.0.0.127.in-addr.arpa", "PTR", f"{HOST}.")
    for provider in PROVIDERS.values():
        dns_server.load(provider.records)
    return dns_server


@pytest.fixture
def resolver(zone: DnsServer) -> Resolver:
    return Resolver([zone.endpoint], lifetime=1.0)


@pytest.fixture
def simulate(tmp_path: Path, resolver: Resolver) -> Iterator[Callable[..., Simulator]]:
    """`simulate(name="google")`: a running provider; the same name has the same directory."""
    running: list[Simulator] = []

    def start(name: str = "google", **fields: Any) -> Simulator:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        simulator = Simulator(name, directory, fields.pop("resolver", resolver), **fields)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def google(simulate: Callable[..., Simulator]) -> Simulator:
    return simulate("google")


@pytest.fixture
def microsoft(simulate: Callable[..., Simulator]) -> Simulator:
    return simulate("microsoft")
