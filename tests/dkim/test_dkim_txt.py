"""Public keys as TXT records, against dkimpy's reading of the same text."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.dkim.txt import BadKey, key_size, public_key_of, txt_value


def encoded(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


def of_bits(bits: int) -> str:
    """A public key of so many bits; that its modulus is no product of primes shows nowhere."""
    return encoded(rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) | 12345).public_key())


RSA = {bits: of_bits(bits) for bits in (1024, 2048, 3072)}


@pytest.mark.parametrize("bits", sorted(RSA))
def test_size_is_what_dkimpy_finds(bits: int) -> None:
    _, size, *_ = dkim.evaluate_pk("s._domainkey.example.com", txt_value(RSA[bits]).encode())
    assert key_size(RSA[bits]) == size == bits


def test_value_and_back() -> None:
    assert txt_value(RSA[2048]) == f"v=DKIM1; k=rsa; p={RSA[2048]}"
    assert public_key_of(txt_value(RSA[2048])) == RSA[2048]
    assert public_key_of("v=DKIM1; k=rsa; p=AB CD\tEF; t=s") == "ABCDEF"
    assert public_key_of("v=DKIM1; p=") == ""
    assert public_key_of("v=spf1 -all") is None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (of_bits(1016), "1016 bits; accepted: 1024"),
        (encoded(ec.generate_private_key(ec.SECP256R1()).public_key()), "not an RSA key"),
        ("not base64!", "not base64"),
        ("", "not an RSA key"),
        (RSA[2048][:-8], "not an RSA key"),
    ],
    ids=["short", "elliptic", "text", "empty", "cut"],
)
def test_refused(key: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        key_size(key)


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail_otherwise(raw: bytes) -> None:
    with pytest.raises(BadKey):
        key_size(base64.b64encode(raw).decode())


@given(st.integers(0, 380))
def test_a_cut_key_is_refused(end: int) -> None:
    with pytest.raises(BadKey):
        key_size(RSA[2048][:end])
