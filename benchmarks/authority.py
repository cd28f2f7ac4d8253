"""A certificate authority that lives as long as one benchmark, and the certificate of the host that is asked for.

Owns: keys, certificates and the files they are read from. Keys are P-256 ones, so that every server signs with the same kind.
"""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "bench.example"
"""Every request names it, in Host, in `:authority` and in SNI."""

LIFETIME = datetime.timedelta(days=90)
"""Long enough that nobody thinks of renewing while it is measured."""

CIPHER, GROUP = "TLS_AES_256_GCM_SHA384", "X25519"
"""What clients offer: OpenSSL's own first choices and nothing else. From more, each server would pick something different."""

OPENSSL_CONF = f"""
openssl_conf = modules
[modules]
ssl_conf = ssl
[ssl]
system_default = clients
[clients]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
Groups = {GROUP}
"""
"""The same for whatever uses OpenSSL as it comes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A leaf for `HOST` with its key, and who signed it; all in PEM."""

    authority: bytes
    chain: bytes
    key: bytes
    fingerprint: str
    """SHA-256 of the leaf, hex."""


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The same on disk, as servers and clients want to read it."""

    authority: Path
    chain: Path
    key: Path
    chain_and_key: Path
    client_conf: Path
    """For OPENSSL_CONF of the clients."""


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name("edgeproxy benchmark authority"))
    builder = builder.public_key(key).serial_number(x509.random_serial_number()).not_valid_before(now)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.not_valid_after(now + LIFETIME).add_extension(issuer_key, critical=False)


def make_identity() -> Identity:
    """A new authority, which signs one certificate and is forgotten."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        _certificate("edgeproxy benchmark authority", root_key.public_key(), root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(HOST, key.public_key(), root_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(root.public_bytes(pem), leaf.public_bytes(pem), secret, leaf.fingerprint(hashes.SHA256()).hex())


def write_identity(identity: Identity, folder: Path) -> IdentityFiles:
    """Into `folder`, which is made; the keys for the owner's eyes only."""
    folder.mkdir(mode=0o700)
    names = ("authority.pem", "chain.pem", "key.pem", "chain-and-key.pem", "clients.cnf")
    files = IdentityFiles(*(folder / name for name in names))
    files.authority.write_bytes(identity.authority)
    files.chain.write_bytes(identity.chain)
    files.key.write_bytes(identity.key)
    files.chain_and_key.write_bytes(identity.chain + identity.key)
    files.client_conf.write_text(OPENSSL_CONF, encoding="ascii")
    return files


def client_context(files: IdentityFiles, *protocols: str) -> ssl.SSLContext:
    """A client that believes this authority alone, offers `protocols` by ALPN, and checks name and chain."""
    context = ssl.create_default_context(cafile=files.authority)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
