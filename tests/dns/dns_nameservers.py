"""Real name servers on the loopback, for tests: Knot and BIND, started and stopped by the test."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.resolver
import pytest

KEY_NAME = "mailfleet"
ZONE_HEAD = """$TTL 600
@ IN SOA ns1.test. hostmaster.test. 1 3600 900 86400 300
@ IN NS ns1.test.
@ IN NS ns2.test.
"""
ROOT = """ns1.test. IN A 127.0.0.1
ns2.test. IN A 127.0.0.2
"""


@dataclass(frozen=True)
class Nameserver:
    """A running server: where it is and the key that may write to it."""

    kind: str
    address: str
    port: int
    secret: str
    directory: Path

    def ask(self, name: str, rdtype: str, timeout: float = 5) -> set[str]:
        """The values it answers with, by a plain query of our own. `timeout` is in seconds."""
        query = dns.message.make_query(name, rdtype)
        answer = dns.query.udp_with_fallback(query, self.address, timeout, self.port)[0]
        return {r.to_text() for s in answer.answer for r in s if r.rdtype == s.rdtype}

    def resolver(self) -> dns.resolver.Resolver:
        """A resolver that asks only this server."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.address], self.port
        return resolver


def available(kind: str) -> bool:
    """Whether the server's program is on this machine."""
    return shutil.which({"knot": "knotd", "bind": "named"}[kind]) is not None


def need(kind: str) -> None:
    """Skip where the server is not installed; fail where setting up the tests installs it."""
    if available(kind):
        return
    reason = f"{kind} is not installed (`mailfleet lab install --tests` gets it)"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A port that is free on the loopback, for TCP and UDP."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on the loopback")


@contextmanager
def running(
    kind: str,
    directory: Path,
    zones: Mapping[str, str],
    *,
    address: str = "127.0.0.1",
    port: int | None = None,
    secret: str | None = None,
    signed: bool = False,
) -> Iterator[Nameserver]:
    """Start a server for these zones (name to records), and the root zone, until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    key = secret or base64.b64encode(secrets.token_bytes(32)).decode()
    server = Nameserver(kind, address, port or free_port(), key, directory)
    files = {}
    for zone, records in {".": ROOT, **zones}.items():
        path = directory / f"{zone.strip('.') or 'root'}.zone"
        path.write_text(f"$ORIGIN {zone if zone == '.' else zone + '.'}\n{ZONE_HEAD}{records}")
        files[zone] = path
    command = (_knot if kind == "knot" else _bind)(server, files, signed)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        _wait(server, process, zones)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Nameserver, process: subprocess.Popen[bytes], zones: Mapping[str, str]) -> None:
    deadline = time.monotonic() + 20
    for zone in (".", *zones):
        while True:
            try:
                if server.ask(zone, "SOA", 0.2):
                    break
            except (OSError, dns.exception.DNSException):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((server.directory / "log").read_text())
            time.sleep(0.05)


def _knot(server: Nameserver, files: Mapping[str, Path], signed: bool) -> list[str]:
    lines = [
        "server:",
        f"  listen: {server.address}@{server.port}",
        f"  rundir: {server.directory}/run",
        f"  pidfile: {server.directory}/knot.pid",
        "  udp-workers: 1",
        "  tcp-workers: 1",
        "  background-workers: 1",
        "database:",
        f"  storage: {server.directory}/db",
        "log:",
        "  - target: stderr",
        "    any: info",
        "key:",
        f"  - id: {KEY_NAME}",
        "    algorithm: hmac-sha256",
        f"    secret: {server.secret}",
        "  - id: readonly",
        "    algorithm: hmac-sha256",
        f"    secret: {server.secret}",
        "acl:",
        "  - id: write",
        f"    key: {KEY_NAME}",
        "    action: [transfer, update]",
        "  - id: read",
        "    key: readonly",
        "    action: transfer",
        "policy:",
        "  - id: test",
        "    nsec3: on",
        "zone:",
    ]
    for zone, path in files.items():
        lines += [
            f"  - domain: {zone}",
            f"    file: {path}",
            "    acl: [write, read]",
            f"    dnssec-signing: {'on' if signed and zone != '.' else 'off'}",
            "    dnssec-policy: test",
        ]
    config = server.directory / "knot.conf"
    config.write_text("\n".join(lines) + "\n")
    for name in ("run", "db"):
        (server.directory / name).mkdir(exist_ok=True)
    return ["knotd", "-c", str(config)]


def _bind(server: Nameserver, files: Mapping[str, Path], signed: bool) -> list[str]:
    sign = "dnssec-policy default; inline-signing yes;" if signed else ""
    lines = [
        "options {",
        f'  directory "{server.directory}"; pid-file "{server.directory}/named.pid";',
        f'  session-keyfile "{server.directory}/session.key"; key-directory "{server.directory}";',
        f"  listen-on port {server.port} {{ {server.address}; }}; listen-on-v6 {{ none; }};",
        "  recursion no; notify no; dnssec-validation no; allow-transfer { none; };",
        "};",
        "controls {};",
    ]
    for name in (KEY_NAME, "readonly"):
        lines.append(f'key "{name}" {{ algorithm hmac-sha256; secret "{server.secret}"; }};')
    for zone, path in files.items():
        lines.append(
            f'zone "{zone}" {{ type primary; file "{path}"; {sign if zone != "." else ""} '
            f"allow-transfer {{ key {KEY_NAME}; key readonly; }}; "
            f"allow-update {{ key {KEY_NAME}; }}; }};"
        )
    config = server.directory / "named.conf"
    config.write_text("\n".join(lines) + "\n")
    return ["named", "-g", "-c", str(config), "-n", "1"]
