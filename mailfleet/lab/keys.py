"""The secrets of one lab: SSH keys, the TSIG key and the certificate authority."""

from __future__ import annotations

import base64
import datetime
import secrets
from collections.abc import Iterable
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailfleet.fleet.model import IPAddress
from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout

TSIG_NAME = "mailfleet"
TSIG_ALGORITHM = "hmac-sha256"


def ssh_key(comment: str) -> tuple[str, str]:
    """A new Ed25519 key: the private file's content and the public line."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private, f"{public.decode()} {comment}"


def ensure(lab: Layout) -> None:
    """Make what is missing: control's SSH key, the TSIG secret, the CA."""
    ssh = lab.home / ".ssh"
    if not (ssh / "id_ed25519.pub").exists():
        private, public = ssh_key("control.lab.test")
        write(ssh / "id_ed25519", private, 0o600)
        write(ssh / "id_ed25519.pub", public + "\n")
    for directory in (lab.home, ssh, lab.secrets):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
    tsig = lab.secrets / "tsig"
    if not tsig.exists():
        write(tsig, base64.b64encode(secrets.token_bytes(32)).decode(), 0o600)
    if not (lab.secrets / "ca.pem").exists():
        _make_ca(lab)


def tsig_secret(lab: Layout) -> str:
    """The TSIG secret, base64."""
    return (lab.secrets / "tsig").read_text()


def control_key(lab: Layout) -> str:
    """The public line that hosts take in authorized_keys."""
    return (lab.home / ".ssh/id_ed25519.pub").read_text()


def issue(lab: Layout, name: str, addresses: Iterable[IPAddress]) -> None:
    """A certificate of the lab's CA for one server: secrets/NAME.pem and secrets/NAME.key."""
    ca = x509.load_pem_x509_certificate((lab.secrets / "ca.pem").read_bytes())
    ca_key = serialization.load_pem_private_key((lab.secrets / "ca.key").read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{lab.secrets / 'ca.key'} is not an EC key")
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives: list[x509.GeneralName] = [x509.DNSName(name)]
    alternatives += [x509.IPAddress(ip_address(str(address))) for address in addresses]
    certificate = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), ca.subject, key)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    write(lab.secrets / f"{name}.key", _pem(key), 0o600)
    write(lab.secrets / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _make_ca(lab: Layout) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailfleet lab CA")])
    certificate = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    write(lab.secrets / "ca.key", _pem(key), 0o600)
    write(lab.secrets / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .serial_number(x509.random_serial_number())
        # A day of margin for clocks, a year for tests that set one forward.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
