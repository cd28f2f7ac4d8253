"""The certificate of a TLS-ALPN-01 challenge: RFC 8737 section 3, RFC 8738 section 6."""

import hashlib
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.tls.acme.tls_alpn import make_challenge_certificate, sni_of

KEY_AUTHORIZATION = "token.thumbprint"


@pytest.mark.parametrize(
    ("name", "general"),
    [
        ("a.test", x509.DNSName("a.test")),
        ("A.Test", x509.DNSName("a.test")),
        ("192.0.2.1", x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
        ("2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
    ],
)
def test_it_has_one_name_and_the_digest_of_the_key_authorization(name: str, general: x509.GeneralName) -> None:
    chain, key = make_challenge_certificate(name, KEY_AUTHORIZATION)
    (certificate,) = x509.load_pem_x509_certificates(chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [general]
    identifier = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert identifier.critical
    assert identifier.value.value == b"\x04\x20" + hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()  # type: ignore[attr-defined]
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert certificate.public_key() == private.public_key()
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.parametrize(
    ("name", "sni"),
    [
        ("WWW.a.test", "www.a.test"),
        ("127.0.0.1", "1.0.0.127.in-addr.arpa"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_what_an_authority_asks_for(name: str, sni: str) -> None:
    assert sni_of(name) == sni
