"""Whatever an operator imports, an authority sends, or a disk gives back: a certificate, or a fault in words; nothing else."""

import base64
import textwrap
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.clock import ManualClock
from edgeproxy.errors import CertificateFault
from edgeproxy.tls.certificate import Certificate, canonical_name, canonical_names, is_staging, parse_certificate
from edgeproxy.tls.self_signed import is_private, is_public_authority, signs_itself
from tests.support.local_authority import LocalAuthority

# A serial number that is not positive is only warned of, and it may well be in a certificate that somebody imports.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

ISSUED = LocalAuthority(ManualClock()).sign(("www.example.com", "192.0.2.1"))
LEAF = x509.load_pem_x509_certificate(ISSUED.chain).public_bytes(serialization.Encoding.DER)
KEY = serialization.load_pem_private_key(ISSUED.key, None).private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def pem(label: str, der: bytes) -> bytes:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


def changed(der: bytes) -> st.SearchStrategy[bytes]:
    """`der` with a few bytes changed, cut, or doubled."""
    changes = st.lists(st.tuples(st.integers(0, len(der) - 1), st.integers(0, 255)), max_size=6)

    def apply(edits: list[tuple[int, int]], start: int, end: int) -> bytes:
        new = bytearray(der)
        for position, value in edits:
            new[position] = value
        return bytes(new[:start] + new[start:end] * 2 + new[end:]) if start < end < start + 20 else bytes(new)

    return st.builds(apply, changes, st.integers(0, len(der)), st.integers(0, len(der)))


def check(chain: bytes, key: bytes) -> None:
    with suppress(CertificateFault):
        assert isinstance(parse_certificate(chain, key), Certificate)


@given(changed(LEAF))
def test_a_changed_certificate(der: bytes) -> None:
    check(pem("CERTIFICATE", der), ISSUED.key)


@given(changed(KEY))
def test_a_changed_key(der: bytes) -> None:
    check(ISSUED.chain, pem("PRIVATE KEY", der))


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_anything(chain: bytes, key: bytes) -> None:
    check(chain, key)
    check(pem("CERTIFICATE", chain), pem("EC PRIVATE KEY", key))
    check(ISSUED.chain + chain, ISSUED.key + key)


@given(st.text(max_size=80))
def test_any_text_as_a_name_or_a_directory(text: str) -> None:
    once = canonical_name(text)
    assert canonical_name(once) == once
    assert canonical_names((text, once)) == (once,)
    assert is_staging(text) in (True, False)
    assert is_public_authority(text) in (True, False)
    assert isinstance(signs_itself(once, (text,)), bool)
    assert isinstance(is_private(once), bool)
