"""SSLContexts: one for each certificate, policy and site, built when first asked for.

Owns: how a context is set up, and which ones are kept. Must not choose between sites; `tls.dispatch` does.

The policy of a connection is that of its context from the first byte on. Switching contexts in a handshake (`sni_callback`)
swaps the certificate only: whether a client certificate is asked for stays as it was.
"""

import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, cast

from edgeproxy.errors import ContextRefused
from edgeproxy.tls.handshakes import AlertingObject
from edgeproxy.tls.openssl import TICKET_KEY_BYTES, OpenSsl
from edgeproxy.tls.tickets import TicketKeys

ACME_PROTOCOL = "acme-tls/1"
"""RFC 8737 section 6.2."""
KEPT = 1024
"""Contexts kept; one costs about 20 KiB, and 0.7 ms to build again."""

TICKETS = 1
"""Tickets of TLS 1.3 for each full handshake. OpenSSL sends two, each at a cost; a browser needs one for its one connection."""

GROUPS = "X25519:P-256:P-384"
CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 are OpenSSL's, which are all of that kind."""

_HTTP_1 = ("http/1.1", "http/1.0")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY_MODES = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class CertificateLike(Protocol):
    """What is served: chain and key in PEM, the leaf first, and the SHA-256 of the leaf."""

    @property
    def chain(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What makes the connections of two sites interchangeable or not; part of the key of contexts and tickets."""

    minimum: str = "1.2"
    """Oldest version spoken: "1.2" or "1.3"."""
    client_ca: bytes | None = None
    """PEM of the authorities whose client certificates are believed."""
    client_auth: str = "off"
    """"off", "optional" or "required"."""
    http2: bool = True
    """Whether h2 is offered, before http/1.1."""

    def __post_init__(self) -> None:
        if self.minimum not in _VERSIONS or self.client_auth not in _VERIFY_MODES:
            raise ContextRefused("no such policy", minimum=self.minimum, client_auth=self.client_auth)
        if self.client_auth != "off" and not self.client_ca:
            raise ContextRefused("client certificates are asked for, but no authority is named to judge them")

    @property
    def protocols(self) -> tuple[str, ...]:
        """What is offered by ALPN, best first."""
        return ("h2", *_HTTP_1) if self.http2 else _HTTP_1

    @property
    def mark(self) -> bytes:
        """Different for different policies; for deriving keys."""
        authorities = sha256(self.client_ca or b"").hexdigest()
        return f"{self.minimum} {self.client_auth} {authorities} {'h2' if self.http2 else '-'}".encode()


class SiteContext(ssl.SSLContext):
    """A context that knows what it is for."""

    scope: str = ""
    """Name of the site."""
    protocols: tuple[bytes, ...] = ()
    """What it offers by ALPN, best first, as on the wire."""
    policy: TlsPolicy | None = None
    ticket_epoch: int = -1
    """Of the keys it seals tickets with; -1: its own, which nobody else has."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in `ssl.SSLContext`; the object learns where its bytes come from and go to."""
        wrapped = super().wrap_bio(incoming, outgoing, server_side, cast(Any, server_hostname), session)
        if isinstance(wrapped, AlertingObject):
            wrapped.incoming, wrapped.outgoing = incoming, outgoing
        return wrapped


class Contexts:
    """SSLContexts by certificate, policy and site: built lazily, those used longest ago dropped.

    Connections hold the context they were made with, so one that is dropped or replaced ends with its last connection.
    """

    def __init__(self, tickets: TicketKeys, openssl: OpenSsl | None, *, kept: int = KEPT) -> None:
        self._tickets = tickets
        self._openssl = openssl
        self._kept = kept
        self._built: OrderedDict[object, SiteContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._built)

    def context(self, certificate: CertificateLike, policy: TlsPolicy, scope: str) -> SiteContext:
        """The context for `scope`, with ticket keys of the present epoch. Raises ContextRefused."""
        key = (certificate.fingerprint, policy, scope)
        context = self._built.get(key)
        if context is None:
            context = self._keep(key, self._build(certificate, policy, scope))
        else:
            self._built.move_to_end(key)
        if context.ticket_epoch not in (-1, self._tickets.epoch()):
            self._renew_ticket_keys(context, policy)
        return context

    def challenge_context(self, chain: bytes, key: bytes) -> SiteContext:
        """A context that answers one TLS-ALPN-01 validation and nothing else (RFC 8737 section 3). Raises ContextRefused."""
        known = (ACME_PROTOCOL, sha256(chain + key).digest())
        context = self._built.get(known)
        if context is None:
            context = _bare_context(chain, key)
            context.set_alpn_protocols([ACME_PROTOCOL])
            context.protocols = (ACME_PROTOCOL.encode(),)
            self._go_without_resumption(context)
            self._keep(known, context)
        return context

    def _keep(self, key: object, context: SiteContext) -> SiteContext:
        self._built[key] = context
        if len(self._built) > self._kept:
            self._built.popitem(last=False)
        return context

    def _build(self, certificate: CertificateLike, policy: TlsPolicy, scope: str) -> SiteContext:
        context = _bare_context(certificate.chain, certificate.key)
        context.scope, context.policy = scope, policy
        context.protocols = tuple(name.encode() for name in policy.protocols)
        context.minimum_version = _VERSIONS[policy.minimum]
        context.set_alpn_protocols(list(policy.protocols))
        if self._openssl is not None:
            self._openssl.set_groups(context, GROUPS)
            self._openssl.forget_sessions(context)
        if policy.client_auth != "off":
            _ask_for_client_certificate(context, policy)
            # Resumption skips the question for a certificate (CVE-2025-23419 and its kin): such a site has none at all.
            self._go_without_resumption(context)
            return context
        context.num_tickets = TICKETS
        if self._openssl is not None:
            self._renew_ticket_keys(context, policy)
        return context

    def _renew_ticket_keys(self, context: SiteContext, policy: TlsPolicy) -> None:
        if self._openssl is not None:
            keys = self._tickets.derive(context.scope, policy.mark, TICKET_KEY_BYTES)
            self._openssl.set_ticket_keys(context, keys)
            context.ticket_epoch = self._tickets.epoch()

    def _go_without_resumption(self, context: SiteContext) -> None:
        context.num_tickets = 0  # TLS 1.3
        context.options |= ssl.OP_NO_TICKET  # TLS 1.2
        if self._openssl is not None:
            self._openssl.forget_sessions(context)  # TLS 1.2 by session id


def _bare_context(chain: bytes, key: bytes) -> SiteContext:
    """What all contexts have in common."""
    context = SiteContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = AlertingObject
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        _load(context, chain, key)
    except ssl.SSLError as error:
        raise ContextRefused("certificate and key cannot be used", error=error.reason or str(error)) from error
    except OSError as error:  # no /proc, no memory, no descriptor left
        raise ContextRefused("certificate and key cannot be loaded", error=error.strerror or str(error)) from error
    return context


def _load(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give OpenSSL a key from memory: Python loads from files only, and a key in a temporary file may outlive a crash."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(key.rstrip() + b"\n" + chain)
        # The password is never asked for at a terminal: an encrypted key fails.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)


def check_policy(policy: TlsPolicy) -> None:
    """Raise ContextRefused for client authorities that no context could be made with, before a handshake finds out."""
    if policy.client_auth != "off":
        _ask_for_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), policy)


def _ask_for_client_certificate(context: ssl.SSLContext, policy: TlsPolicy) -> None:
    try:
        context.load_verify_locations(cadata=(policy.client_ca or b"").decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ContextRefused("client CA cannot be used", error=str(error)) from error
    context.verify_mode = _VERIFY_MODES[policy.client_auth]
