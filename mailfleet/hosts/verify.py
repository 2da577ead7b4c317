"""Looks at hosts from outside, over new connections: SSH, then every port of their roles."""

from __future__ import annotations

import errno
import smtplib
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from mailfleet.fleet.model import Fleet, Host, IPAddress
from mailfleet.hosts.roles import Port, ports_of
from mailfleet.hosts.runner import read_fact

# Seconds; more than the six that postscreen may wait before it greets.
TIMEOUT = 15.0
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. A warning could not be judged from here, or matters less."""

    host: str
    subject: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str


def verify(fleet: Fleet, hosts: Sequence[Host]) -> tuple[Finding, ...]:
    """Everything found on these hosts, in their order."""
    findings = []
    for region in dict.fromkeys(host.region for host in hosts):
        findings += _over_ssh(fleet, region, [h for h in hosts if h.region == region])
    asked = [
        (host, address, port)
        for host in hosts
        for port in ports_of(fleet, host)
        if port.proto == "tcp" and port.answers != "nothing"
        for address in host.addresses
    ]
    with ThreadPoolExecutor(max_workers=32) as pool:
        findings += pool.map(lambda each: knock(*each), asked)
    order = {host.name: number for number, host in enumerate(hosts)}
    return tuple(sorted(findings, key=lambda finding: order[finding.host]))


def _over_ssh(fleet: Fleet, region: str, hosts: Sequence[Host]) -> list[Finding]:
    names = [host.name for host in hosts]
    inventory = fleet.directory / "inventories" / f"{region}.py"
    units = read_fact(inventory, names, "mailfleet.hosts.facts.Units", fleet.directory)
    findings = []
    for name in names:
        found = units.get(name)
        if found is None:
            findings.append(Finding(name, "ssh", "failed", "no new SSH connection to the host"))
            continue
        findings.append(Finding(name, "ssh", "ok", "a new connection"))
        for unit in found["managed"]:
            detail = f"does not run (any more): journalctl -u {unit}"
            findings.append(Finding(name, unit, "failed", detail))
        for unit in found["failed"]:
            detail = f"has failed, though it is not mailfleet's: journalctl -u {unit}"
            findings.append(Finding(name, unit, "warning", detail))
    return findings


def knock(host: Host, address: IPAddress, port: Port) -> Finding:
    """Ask one port of a host on one of its addresses."""
    subject = f"[{address}]:{port.number}" if address.version == 6 else f"{address}:{port.number}"
    try:
        if port.answers == "smtp":
            return _smtp(host.name, address, port.number, subject)
        with socket.create_connection((str(address), port.number), TIMEOUT) as connection:
            if port.answers == "tls":
                trusted, detail = _tls(host.name, address, port.number, connection)
                return Finding(host.name, subject, "ok" if trusted else "warning", detail)
            return Finding(host.name, subject, "ok", "answers")
    except TimeoutError:
        return Finding(host.name, subject, *_silence(port))
    except (OSError, smtplib.SMTPException, ssl.CertificateError) as error:
        if isinstance(error, OSError) and error.errno in _NO_ROUTE:
            family = f"IPv{address.version}"
            return Finding(host.name, subject, "warning", f"no {family} route from here: not seen")
        return Finding(host.name, subject, "failed", str(error))


def _silence(port: Port) -> tuple[Literal["warning", "failed"], str]:
    if port.number == 25:
        return "warning", f"no answer in {TIMEOUT:.0f} s; many networks block port 25 outwards"
    return "failed", f"no answer in {TIMEOUT:.0f} s: does the firewall let it in?"


class _Smtp(smtplib.SMTP):
    """SMTP to one address of a host, with the host's name for TLS."""

    def __init__(self, name: str, address: IPAddress, port: int) -> None:
        self._address = str(address)
        self.greeting = b""
        super().__init__(name, port, timeout=TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout)

    def connect(self, *args: object, **kwargs: object) -> tuple[int, bytes]:
        code, self.greeting = super().connect(*args, **kwargs)  # type: ignore[arg-type]
        return code, self.greeting


def _smtp(name: str, address: IPAddress, port: int, subject: str) -> Finding:
    """The greeting must name the host (RFC 5321, 4.2) and STARTTLS must show its certificate."""
    trusted = True
    while True:
        with _Smtp(name, address, port) as session:
            words = session.greeting.decode(errors="replace").split()
            if not words or words[0] != name:
                said = " ".join(words)[:80]
                return Finding(name, subject, "failed", f"greets as {said!r}, not as {name}")
            session.ehlo()
            if not session.has_extn("starttls"):
                return Finding(name, subject, "failed", "does not offer STARTTLS")
            try:
                context = _verifying() if trusted else _name_only(name, address, port, smtp=True)
                session.starttls(context=context)
            except ssl.SSLCertVerificationError as error:
                if not trusted or error.verify_code == _NAME_MISMATCH:
                    return Finding(name, subject, "failed", f"certificate: {error.verify_message}")
                trusted = False
                continue
        return Finding(name, subject, "ok" if trusted else "warning", _certificate(trusted))


# X509_V_ERR_HOSTNAME_MISMATCH of openssl-verify(1).
_NAME_MISMATCH = 62


def _verifying() -> ssl.SSLContext:
    return ssl.create_default_context()


def _name_only(name: str, address: IPAddress, port: int, smtp: bool) -> ssl.SSLContext:
    """A context that trusts the very certificate the port shows, so that only its name counts."""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    if smtp:
        with _Smtp(name, address, port) as session:
            session.starttls(context=blind)
            shown = session.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
    else:
        with (
            socket.create_connection((str(address), port), TIMEOUT) as plain,
            blind.wrap_socket(plain, server_hostname=name) as wrapped,
        ):
            shown = wrapped.getpeercert(binary_form=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=shown or b"")
    return context


def _tls(name: str, address: IPAddress, port: int, connection: socket.socket) -> tuple[bool, str]:
    try:
        with _verifying().wrap_socket(connection, server_hostname=name):
            return True, _certificate(True)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _NAME_MISMATCH:
            raise
    with (
        socket.create_connection((str(address), port), TIMEOUT) as plain,
        _name_only(name, address, port, smtp=False).wrap_socket(plain, server_hostname=name),
    ):
        return False, _certificate(False)


def _certificate(trusted: bool) -> str:
    if trusted:
        return "answers, certificate of its name"
    return "answers, but its certificate is not from a CA this machine trusts (not issued yet?)"
