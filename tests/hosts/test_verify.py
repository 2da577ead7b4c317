"""Looking at ports: real sockets and certificates on loopback."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailfleet.fleet.model import Host, Role
from mailfleet.hosts import verify
from mailfleet.hosts.roles import Port

NAME = "mx1.eu.example.net"
LOOPBACK = ip_address("127.0.0.1")
HOST = Host(name=NAME, role=Role.MX, region="eu", ipv4="198.51.100.25")
Server = Callable[[Callable[[socket.socket], None]], int]


def certificate(directory: Path, name: str) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    """Serves every connection with a function, in threads; gives the port."""
    listeners: list[socket.socket] = []

    def serve(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server((str(LOOPBACK), 0))
        listeners.append(listener)

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    talk(connection)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield serve
    for listener in listeners:
        listener.close()


def smtp(greeting: str, chain: Path | None) -> Callable[[socket.socket], None]:
    """A server that knows EHLO, STARTTLS and QUIT."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(f"220 {greeting}\r\n".encode())
        while line := connection.recv(1000).upper():
            if line.startswith(b"STARTTLS") and chain:
                connection.sendall(b"220 go on\r\n")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(chain)
                connection = context.wrap_socket(connection, server_side=True)
            elif line.startswith(b"EHLO"):
                offer = "250-STARTTLS\r\n" if chain else ""
                connection.sendall(f"250-{NAME}\r\n{offer}250 OK\r\n".encode())
            else:
                connection.sendall(b"221 bye\r\n")

    return talk


def knock(port: int, answers: str) -> verify.Finding:
    return verify.knock(HOST, LOOPBACK, Port(port, answers=answers))  # type: ignore[arg-type]


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Has this machine trust a certificate."""

    def trust(path: Path) -> None:
        monkeypatch.setattr(
            verify, "_verifying", lambda: ssl.create_default_context(cafile=str(path))
        )

    return trust


@pytest.mark.parametrize("answers", ["smtp", "tls"])
@pytest.mark.parametrize(
    ("shown", "known", "verdict"),
    [
        (NAME, True, "ok"),
        (NAME, False, "warning"),
        ("debian", True, "failed"),
        ("debian", False, "failed"),
    ],
)
def test_certificates(
    server: Server,
    trusted: Callable[[Path], None],
    tmp_path: Path,
    answers: str,
    shown: str,
    known: bool,
    verdict: str,
) -> None:
    chain = certificate(tmp_path, shown)
    if known:
        trusted(chain)

    def tls(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.wrap_socket(connection, server_side=True).recv(1)

    port = server(smtp(f"{NAME} ESMTP", chain) if answers == "smtp" else tls)
    finding = knock(port, answers)
    assert finding.verdict == verdict, finding
    if verdict == "failed":
        assert NAME in finding.detail


def test_a_greeting_with_another_name(server: Server) -> None:
    finding = knock(server(smtp("debian ESMTP Postfix", None)), "smtp")
    assert finding.verdict == "failed"
    assert "greets as 'debian ESMTP Postfix'" in finding.detail


def test_no_starttls(server: Server) -> None:
    finding = knock(server(smtp(f"{NAME} ESMTP", None)), "smtp")
    assert (finding.verdict, finding.detail) == ("failed", "does not offer STARTTLS")


def test_a_server_that_hangs_up(server: Server) -> None:
    assert knock(server(lambda connection: None), "smtp").verdict == "failed"


def test_silence_on_port_25_is_not_blamed_on_the_host(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*args: object, **kwargs: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    assert knock(25, "smtp").verdict == "warning"
    assert knock(465, "tls").verdict == "failed"


def test_nobody_listens() -> None:
    with socket.create_server((str(LOOPBACK), 0)) as listener:
        port = listener.getsockname()[1]
    finding = knock(port, "open")
    assert finding.verdict == "failed"
    assert "refused" in finding.detail
