"""The key of a test authority, and the certificates that it signs."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.clock import Clock
from tests.support.certificates import key_usage


class IssuingAuthority:
    """A root, an intermediate below it, and leaves below that."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._sign_authority("Stub Root", self._root_key, "Stub Root", self._root_key)
        self.intermediate = self._sign_authority("Stub Intermediate", self._key, "Stub Root", self._root_key)

    @property
    def root(self) -> bytes:
        """PEM: what all that it issues is verified by."""
        return pem(self._root)

    def issue(self, csr: x509.CertificateSigningRequest, lifetime: float) -> bytes:
        """A chain (PEM) for what `csr` asks for; `lifetime` in seconds, negative for one that has ended already."""
        assert csr.is_signature_valid
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self.issue_for(csr.public_key(), list(names), lifetime)  # type: ignore[arg-type]

    def issue_for(self, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName], lifetime: float) -> bytes:
        now = self._now()
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, now + datetime.timedelta(seconds=lifetime)) - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(seconds=lifetime))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return pem(leaf) + pem(self.intermediate)

    def _sign_authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3_650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .sign(issuer_key, hashes.SHA256())
        )

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.clock.seconds(), datetime.UTC)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
