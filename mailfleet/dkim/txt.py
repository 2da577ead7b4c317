"""A public key as the TXT record that verifiers read (RFC 6376 section 3.6.1)."""

from __future__ import annotations

import base64
import binascii
import re

# RFC 8301 wants at least 1,024 bits and advises 2,048; receivers refuse what is shorter.
LEAST_BITS = 1024


class BadKey(ValueError):
    """A public key that cannot be published; the message says why."""


def txt_value(public_key: str) -> str:
    """The text of `<selector>._domainkey.<domain>`; longer than 255 bytes, split it on the wire.

    `public_key` is the base64 of the DER SubjectPublicKeyInfo, in one line. Raises BadKey.
    """
    key_size(public_key)
    return f"v=DKIM1; k=rsa; p={public_key}"


def public_key_of(value: str) -> str | None:
    """The `p=` of a DKIM TXT value without white space; None when it has none."""
    match = re.search(r"(?:^|;)\s*p=([^;]*)", value)
    return re.sub(r"\s", "", match[1]) if match else None


def key_size(public_key: str) -> int:
    """Bits of the modulus of an RSA public key. Raises BadKey when it is none, or too short."""
    try:
        der = base64.b64decode(public_key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"the public key is not base64: {error}") from error
    try:
        bits = _rsa_bits(der)
    except (IndexError, ValueError) as error:
        raise BadKey("the public key is not an RSA key (SubjectPublicKeyInfo, DER)") from error
    if bits < LEAST_BITS:
        raise BadKey(f"the public key has {bits} bits; accepted: {LEAST_BITS} or more (RFC 8301)")
    return bits


# 1.2.840.113549.1.1.1, rsaEncryption (RFC 8017), as an ASN.1 object identifier.
_RSA = bytes.fromhex("06092a864886f70d010101")


def _rsa_bits(der: bytes) -> int:
    """Walk SubjectPublicKeyInfo (RFC 5280 section 4.1) down to the modulus."""
    info, rest = _element(der, 0x30)
    if rest:
        raise ValueError("trailing bytes")
    algorithm, keys = _element(info, 0x30)
    if not algorithm.startswith(_RSA):
        raise ValueError("not RSA")
    bit_string, _ = _element(keys, 0x03)
    numbers, _ = _element(bit_string[1:], 0x30)
    modulus, rest = _element(numbers, 0x02)
    _element(rest, 0x02)
    return int.from_bytes(modulus, "big").bit_length()


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first DER element, which must have the tag, and what follows it."""
    if data[0] != tag:
        raise ValueError(f"tag {data[0]:#x}, not {tag:#x}")
    length, start = data[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut off")
    return data[start : start + length], data[start + length :]
