"""Does a name lead to this edge? Looked at before an authority is bothered with it.

Owns: the looking. A random token is presented like a challenge, and then asked for under every address that the name resolves to,
the way an authority would: over HTTP at port 80, or in a TLS handshake for `acme-tls/1` at port 443. The answer is advice. An
edge behind a router often cannot reach itself by its public address although the authority can, and a name may resolve
differently inside; so the keeper lets a bad answer defer the first attempt for a bounded time only (`KeeperSettings.patience`),
reports it, and then asks the authority all the same. Renewals are never deferred: the names led here once. Nor is anything before
an authority that is not one of the public ones: it may have a DNS and ports of its own.
"""

import asyncio
import hashlib
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from edgeproxy.errors import StoreError
from edgeproxy.tls.acme.tls_alpn import sni_of
from edgeproxy.tls.certificate import is_address
from edgeproxy.tls.challenges import Challenges
from edgeproxy.tls.entries import Advice

_LONGEST_ANSWER: Final = 8_192
_MOST_ADDRESSES: Final = 8
_ALPN: Final = "acme-tls/1"
_ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheckSettings:
    """Where an authority looks. Port 0 leaves that way out."""

    http_port: int = 80
    tls_port: int = 443
    seconds: float = 5.0
    """How long one look may take, the resolving of the name included."""


class SelfCheck:
    """Looks whether names lead here."""

    def __init__(self, challenges: Challenges, settings: SelfCheckSettings) -> None:
        self._challenges = challenges
        self._settings = settings

    async def look(self, names: Sequence[str]) -> Advice:
        """Good when every name leads here in one of the two ways. Wildcards are passed over: their challenge is in the DNS."""
        looked = [name for name in names if not name.startswith("*.")]
        try:
            answers = await asyncio.gather(*(self._look_at(name) for name in looked))
        except StoreError as error:
            return Advice(True, f"not looked: {error}")  # what cannot be presented is no reason against the name
        bad = [f"{name}: {answer}" for name, answer in zip(looked, answers, strict=True) if answer]
        return Advice(not bad, "; ".join(bad))

    async def _look_at(self, name: str) -> str:
        """What speaks against `name`; empty when it leads here."""
        said = []
        for port, way in ((self._settings.http_port, self._by_http), (self._settings.tls_port, self._by_tls)):
            if not port:
                continue
            try:
                async with asyncio.timeout(self._settings.seconds):
                    addresses = await _resolve(name, port)
                    answers = [await way(name, address, port) for address in addresses[:_MOST_ADDRESSES]]
            except TimeoutError:
                answers = [f"port {port}: no answer within {self._settings.seconds:g} seconds"]
            except OSError as error:
                return f"cannot be resolved: {error.strerror or error}"
            if not any(answers):
                return ""
            said += [answer for answer in answers if answer]
        return ", ".join(dict.fromkeys(said))

    async def _by_http(self, name: str, address: str, port: int) -> str:
        token, content = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        await self._challenges.present_http(token, content)
        try:
            reader, writer = await asyncio.open_connection(address, port)
            try:
                host = f"[{name}]" if ":" in name else name
                path = f"/.well-known/acme-challenge/{token}"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
                received = b""
                while len(received) < _LONGEST_ANSWER and (piece := await reader.read(_LONGEST_ANSWER)):
                    received += piece
            finally:
                writer.transport.abort()
        except OSError as error:
            return f"{address} port {port}: {error.strerror or error}"
        finally:
            await self._challenges.withdraw_http(token)
        if content.encode() in received:
            return ""
        first = received.partition(b"\r\n")[0].decode("ascii", "replace")[:80]
        return f"{address} port {port} is answered by something else ({first or 'no answer'})"

    async def _by_tls(self, name: str, address: str, port: int) -> str:
        if self._challenges.is_presented(name):
            return ""  # an authority is about to look; what it will find must not be replaced
        content = secrets.token_urlsafe(24)
        await self._challenges.present_alpn(name, content)
        try:
            shown = await _handshake(address, port, sni_of(name))
        except OSError as error:  # ssl.SSLError is one too
            return f"{address} port {port}: {error.strerror or error}"
        finally:
            await self._challenges.withdraw_alpn(name)
        if shown is not None and _proves(shown, content):
            return ""
        return f"{address} port {port} is answered by something else"


async def _resolve(name: str, port: int) -> list[str]:
    """The addresses of `name`, each once; raises OSError."""
    if is_address(name):
        return [name]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _handshake(address: str, port: int, sni: str) -> bytes | None:
    """The leaf (DER) that is shown for `acme-tls/1`; None when that was not agreed on. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a challenge's certificate is self-signed (RFC 8737 section 3); its hash is the proof
    context.set_alpn_protocols([_ALPN])
    _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=sni)
    try:
        agreed: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        if agreed is None or agreed.selected_alpn_protocol() != _ALPN:
            return None
        return agreed.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()


def _proves(leaf: bytes, content: str) -> bool:
    """The certificate carries the hash of `content` (RFC 8737 section 3)."""
    with suppress(ValueError, x509.ExtensionNotFound):
        extension = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_oid(_ACME_IDENTIFIER).value
        expected = b"\x04\x20" + hashlib.sha256(content.encode()).digest()
        return isinstance(extension, x509.UnrecognizedExtension) and extension.value == expected
    return False
