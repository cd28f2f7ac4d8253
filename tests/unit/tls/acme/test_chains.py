"""Names, requests and chains. That wrong certificates are refused is shown against a whole authority in tests/flows."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from edgeproxy.clock import ManualClock
from edgeproxy.tls.acme.chains import canonical, check_chain, ends_at, expiry, names_of, new_key, renewal_id, signing_request
from tests.support.acme_issuing import IssuingAuthority, pem

CLOCK = ManualClock()
AUTHORITY = IssuingAuthority(CLOCK)
NAMES = ("a.test", "*.a.test", "192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("WWW.Example.ORG", "www.example.org"),
        ("example.org.", "example.org"),
        (" example.org ", "example.org"),
        ("*.Example.org", "*.example.org"),
        ("2001:0DB8::0:1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1.example", "192.0.2.1.example"),
    ],
)
def test_names_have_one_form(name: str, form: str) -> None:
    assert canonical(name) == form


def test_a_request_has_the_names_an_empty_subject_and_the_key() -> None:
    key = new_key()
    request = signing_request(key, NAMES)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "*.a.test"]
    assert len(request.subject) == 0
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    assert request.public_key() == private.public_key()
    assert new_key() != key


def test_a_good_chain_is_taken_and_comes_out_as_clean_pem() -> None:
    key = new_key()
    chain = AUTHORITY.issue(signing_request(key, NAMES), 86_400.0)
    assert check_chain(b"# a comment\n" + chain, key, NAMES, CLOCK.seconds()) == chain
    leaf = x509.load_pem_x509_certificates(chain)[0]
    assert set(names_of(leaf)) == set(NAMES)
    assert expiry(chain) == CLOCK.seconds() + 86_400


def test_a_chain_may_have_an_rsa_issuer() -> None:
    issuer_key = rsa.generate_private_key(65_537, 2_048)
    key = new_key()
    private = serialization.load_pem_private_key(key, None)
    now = datetime.datetime.fromtimestamp(CLOCK.seconds(), datetime.UTC)

    def sign(subject: str, public: object, names: list[x509.GeneralName]) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "RSA Root")]))
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )

    name: list[x509.GeneralName] = [x509.DNSName("a.test")]
    chain = pem(sign("leaf", private.public_key(), name)) + pem(sign("RSA Root", issuer_key.public_key(), name))
    assert check_chain(chain, key, ("a.test",), CLOCK.seconds()) == chain


def test_a_chain_is_known_by_the_name_it_ends_at() -> None:
    chain = AUTHORITY.issue(signing_request(new_key(), ["a.test"]), 60.0)
    assert ends_at(chain, "Stub Root")
    assert not ends_at(chain, "Stub Intermediate")
    assert not ends_at(b"no chain", "Stub Root")


def test_the_name_for_renewal_information_is_that_of_the_standards_example() -> None:
    """RFC 9773 section 4.1 and appendix A: key identifier 69:88:5B:…, serial number 00:87:65:43:21."""
    identifier = bytes.fromhex("69885b6b87464041e1b37b847bd0ae2cde01c8d4")
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    )
    example = builder.serial_number(0x87654321).sign(key, hashes.SHA256())
    assert renewal_id(pem(example)) == "aYhba4dGQEHhs3uEe9CuLN4ByNQ.AIdlQyE"
    positive = builder.serial_number(0x7F).sign(key, hashes.SHA256())
    assert renewal_id(pem(positive)) == "aYhba4dGQEHhs3uEe9CuLN4ByNQ.fw"


@pytest.mark.parametrize("chain", [b"", b"no chain"])
def test_what_is_no_chain_has_no_such_name_and_no_end(chain: bytes) -> None:
    assert renewal_id(chain) is None
    assert expiry(chain) is None
