"""The certificate that answers a TLS-ALPN-01 challenge (RFC 8737), for names and for IP addresses (RFC 8738).

Owns: its bytes, and the name under which an authority asks for it. Whoever serves it must answer ALPN `acme-tls/1` only.
"""

import datetime
import hashlib
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ALPN = "acme-tls/1"
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 section 6.1
_OCTET_STRING_OF_32 = b"\x04\x20"
# Nobody checks the dates of this certificate, and a fixed long time spares us a clock: authorities look at its extension alone.
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC)


def make_challenge_certificate(name: str, key_authorization: str) -> tuple[bytes, bytes]:
    """Chain and key (PEM) of a self-signed certificate for `name` (a DNS name or an IP address), with a P-256 key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    digest = hashlib.sha256(key_authorization.encode("ascii")).digest()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        # RFC 8737 section 3: one name, the one that is validated, and nothing else
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTET_STRING_OF_32 + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), encoded


def sni_of(name: str) -> str:
    """What an authority sends as SNI to validate `name`: itself, or the reverse pointer of an address (RFC 8738 section 6)."""
    address = _address(name)
    return name.lower() if address is None else address.reverse_pointer


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name.lower()) if address is None else x509.IPAddress(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
