"""Tiny real servers where an authority looks for the answers to its challenges, and the DNS hook of the tests."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edgeproxy.tls.acme.tls_alpn import ALPN, make_challenge_certificate, sni_of
from tests.support.pebble import DnsServer


class HttpAnswers:
    """The presenter of HTTP-01: a server that answers known tokens."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.port = 0
        self.presented: list[str] = []
        self.withdrawn: list[str] = []

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        self.tokens[token] = key_authorization
        self.presented.append(name)

    async def withdraw(self, name: str, token: str) -> None:
        self.tokens.pop(token, None)
        self.withdrawn.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            path = head.split(b" ", 2)[1].decode()
            answer = self.tokens.get(path.removeprefix("/.well-known/acme-challenge/"))
            status = "200 OK" if answer is not None else "404 Not Found"
            body = (answer or "no such token").encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the authority gave up, or another test's; it will say so itself
        finally:
            writer.close()


class AlpnAnswers:
    """The presenter of TLS-ALPN-01: a server that shows challenge certificates by SNI, to clients that offer acme-tls/1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contexts: dict[str, ssl.SSLContext] = {}
        self.port = 0
        self.presented: list[str] = []
        self.withdrawn: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols([ALPN])
        self.context.sni_callback = self._choose

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        chain, key = make_challenge_certificate(name, key_authorization)
        file = self.folder / f"challenge-{len(self.presented)}.pem"
        file.write_bytes(chain + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols([ALPN])  # OpenSSL asks the context that was chosen by name
        self.contexts[sni_of(name)] = context
        self.presented.append(name)

    async def withdraw(self, name: str, token: str) -> None:
        self.contexts.pop(sni_of(name), None)
        self.withdrawn.append(name)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        context = self.contexts.get(name or "")
        if context is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        return None


@asynccontextmanager
async def http_answers(port: int) -> AsyncIterator[HttpAnswers]:
    answers = HttpAnswers()
    server = await asyncio.start_server(answers.serve, "127.0.0.1", port)
    answers.port = server.sockets[0].getsockname()[1]
    async with server:
        yield answers


@asynccontextmanager
async def alpn_answers(port: int, folder: Path) -> AsyncIterator[AlpnAnswers]:
    answers = AlpnAnswers(folder)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", port, ssl=answers.context)
    answers.port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_quiet_about_broken_handshakes)
    async with server:
        yield answers


def _quiet_about_broken_handshakes(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if not isinstance(context.get("exception"), (ssl.SSLError, ConnectionError)):
        loop.default_exception_handler(context)


_HOOK = """#!{python}
import json, sys, urllib.request
action, name, record, value = sys.argv[1:]
if action == "present":
    path, fields = "set-txt", {{"host": record + ".", "value": value}}
else:
    path, fields = "clear-txt", {{"host": record + "."}}
request = urllib.request.Request("{url}/" + path, json.dumps(fields).encode(), method="POST")
urllib.request.urlopen(request, timeout=10).read()
with open({calls!r}, "a") as calls:
    calls.write(action + " " + name + chr(10))
"""


def dns_hook_script(folder: Path, dns: DnsServer) -> Path:
    """A hook command that keeps its records in the DNS server of the tests, and its calls in FOLDER/dns-hook.calls."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "dns-hook"
    script.write_text(_HOOK.format(python=sys.executable, url=dns.url, calls=str(folder / "dns-hook.calls")))
    script.chmod(0o755)
    return script
