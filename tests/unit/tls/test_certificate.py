"""What is a usable pair, and what is said of one that is not."""

import datetime
import ipaddress
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from edgeproxy.clock import ManualClock
from edgeproxy.errors import CertificateFault
from edgeproxy.tls.certificate import canonical_name, canonical_names, check_import, is_staging, parse_certificate, wildcard_of
from tests.support.local_authority import DAY, LocalAuthority, pem

CLOCK = ManualClock()
AUTHORITY = LocalAuthority(CLOCK)
GOOD = AUTHORITY.sign(("WWW.example.com", "*.example.com", "192.0.2.1", "2001:DB8:0::1"))
OTHER = AUTHORITY.sign(("www.example.com",))
LEAF, INTERMEDIATE = (b"-----BEGIN CERTIFICATE-----" + part for part in GOOD.chain.split(b"-----BEGIN CERTIFICATE-----")[1:])


def self_signed(key, *extensions) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def private(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def test_a_good_pair_is_read_in_full():
    certificate = parse_certificate(GOOD.chain, GOOD.key, directory="https://ca.lab/")
    assert set(certificate.names) == {"www.example.com", "*.example.com", "192.0.2.1", "2001:db8::1"}
    assert certificate.lifetime == 90 * DAY
    assert certificate.issuer == "CN=Lab Intermediate"
    assert certificate.directory == "https://ca.lab/"
    assert certificate.fingerprint == x509.load_pem_x509_certificate(LEAF).fingerprint(hashes.SHA256()).hex()
    assert certificate.key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert certificate.chain == GOOD.chain
    assert parse_certificate(certificate.chain, certificate.key, directory="https://ca.lab/") == certificate


def test_a_key_in_an_older_form_becomes_pkcs8():
    key = ec.generate_private_key(ec.SECP384R1())
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    chain = self_signed(key, x509.SubjectAlternativeName([x509.DNSName("a.example")]))
    assert parse_certificate(chain, old).key == private(key)


def encrypted() -> bytes:
    key = serialization.load_pem_private_key(GOOD.key, None)
    secret = serialization.BestAvailableEncryption(b"password")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)


RSA_1024 = rsa.generate_private_key(65537, 1024)
DSA = dsa.generate_private_key(2048)
EC = ec.generate_private_key(ec.SECP256R1())
NAMED = x509.SubjectAlternativeName([x509.DNSName("a.example")])


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (GOOD.chain, OTHER.key, "the key does not belong to the certificate"),
        (INTERMEDIATE + LEAF, GOOD.key, "wrong order: the key belongs to a later certificate"),
        (LEAF + AUTHORITY.root_pem, GOOD.key, "not signed by the next one"),
        (LEAF + AUTHORITY.root_pem + INTERMEDIATE, GOOD.key, "not signed by the next one"),
        (b"", GOOD.key, "the certificate is not PEM"),
        (GOOD.key, GOOD.chain, "a private key instead of a certificate"),
        (GOOD.chain, GOOD.chain, "the key is not PEM"),
        (GOOD.chain, b"", "the key is not PEM"),
        (GOOD.chain[:300], GOOD.key, "the certificate's PEM is broken"),
        (GOOD.chain.replace(b"MII", b"AAA"), GOOD.key, "the certificate's PEM is broken"),
        (GOOD.chain, GOOD.key[:60] + GOOD.key[-40:], "the key's PEM is broken"),
        (GOOD.chain, encrypted(), "encrypted with a password"),
        (GOOD.chain * 400, GOOD.key, "the certificate file is too long"),
        (GOOD.chain, GOOD.key * 2_000, "the key file is too long"),
        (self_signed(EC), pem(EC), "no subject alternative name"),
        (self_signed(EC, x509.SubjectAlternativeName([x509.RFC822Name("a@b.example")])), pem(EC), "neither a DNS name nor"),
        (self_signed(RSA_1024, NAMED), private(RSA_1024), "the RSA key is too short"),
        (self_signed(DSA, NAMED), private(DSA), "of a kind that TLS cannot use"),
    ],
    ids=lambda value: value if isinstance(value, str) else "pem",
)
def test_what_is_wrong_is_said(chain, key, words):
    with pytest.raises(CertificateFault, match=words):
        parse_certificate(chain, key)


@pytest.mark.parametrize("cut", range(0, 2_000, 97))
def test_a_chain_cut_anywhere_is_a_fault_or_a_shorter_chain_and_nothing_else(cut):
    with suppress(CertificateFault):
        assert parse_certificate(GOOD.chain[:cut], GOOD.key).names


def test_an_expired_certificate_is_read_but_not_imported():
    issued = AUTHORITY.sign(("a.example",), begins=CLOCK.seconds() - 3 * DAY, lifetime=DAY)
    certificate = parse_certificate(issued.chain, issued.key)
    assert not certificate.is_valid(CLOCK.seconds())
    with pytest.raises(CertificateFault, match="has expired"):
        check_import(certificate, "a.example", CLOCK.seconds())


def test_an_import_must_be_for_the_name_and_valid_now():
    certificate = parse_certificate(GOOD.chain, GOOD.key)
    check_import(certificate, "Anything.Example.com.", CLOCK.seconds())
    check_import(certificate, "[2001:db8::1]", CLOCK.seconds())
    with pytest.raises(CertificateFault, match="for other names"):
        check_import(certificate, "example.com", CLOCK.seconds())
    with pytest.raises(CertificateFault, match="not valid yet"):
        check_import(certificate, "www.example.com", CLOCK.seconds() - DAY)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", False),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", True),
        ("https://dv.acme-v02.api.pki.goog/directory", False),
        ("https://dv.acme-v02.test-api.pki.goog/directory", True),
        ("https://api.test4.buypass.no/acme/directory", True),
        ("https://acme.zerossl.com/v2/DV90", False),
        ("https://ca.lab.test/directory", False),
        ("https://localhost:14000/dir", False),
        ("https://ca.example/acme/STAGING/directory", True),
        ("", False),
        ("self-signed", False),
    ],
)
def test_which_directories_are_for_trials(directory, expected):
    assert is_staging(directory) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("WWW.Example.COM.", "www.example.com"), ("[::1]", "::1"), ("2001:DB8::0:1", "2001:db8::1"), ("010.0.0.1", "010.0.0.1")],
)
def test_one_spelling_of_each_name(name, expected):
    assert canonical_name(name) == expected


def test_name_sets_and_wildcards():
    assert canonical_names(("b.", "A", "a")) == ("a", "b")
    assert wildcard_of("a.b.example") == "*.b.example"
    assert wildcard_of("localhost") is wildcard_of("127.0.0.1") is wildcard_of("*.b.example") is None
    assert ipaddress.ip_address(canonical_name("::ffff:1.2.3.4")).version == 6
