"""Certificates for tests: a CA of our own, and what it signs. Made in memory, in about a millisecond each.

Owns: certificates that a client can verify. Must not use the edge's own code.
"""

import datetime
import functools
import ipaddress
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TestCertificate:
    """Chain and key in PEM."""

    __test__ = False

    chain: bytes
    key: bytes
    fingerprint: str

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.chain).serial_number


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TestAuthority:
    """A CA that signs what it is asked to."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = key_usage(signs_certificates=True)
        builder = self._builder(self._name, self._key.public_key(), 3650 * DAY)
        built = builder.add_extension(constraints, critical=True).add_extension(usage, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = built.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, life: datetime.timedelta) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(now - DAY / 24).not_valid_after(now + life)

    def issue(self, *names: str, client: bool = False, days: int = 60) -> TestCertificate:
        """A certificate with its key, for servers called `names`, or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        signer = self._key.public_key()
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.SubjectAlternativeName(map(_san, names)), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ]
        builder = self._builder(_name(names[0]), key.public_key(), days * DAY)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        leaf = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return TestCertificate(leaf.public_bytes(serialization.Encoding.PEM), private, leaf.fingerprint(hashes.SHA256()).hex())

    def client_context(self) -> ssl.SSLContext:
        """Trusts this CA and nothing else."""
        return ssl.create_default_context(cadata=self.pem.decode())


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """For signatures alone; of certificates too, where it is an authority."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


@functools.cache
def authority(name: str = "edgeproxy test CA") -> TestAuthority:
    """One CA for all tests of a run."""
    return TestAuthority(name)


@functools.cache
def certificate(*names: str) -> TestCertificate:
    """The same certificate for the same names within a run."""
    return authority().issue(*names)
