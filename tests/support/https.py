"""An edge on HTTPS as a process, and clients that verify what it shows.

Owns: what the tests of the whole edge over TLS share. Clients trust only the roots they are given; the first thing that a client
learns is which certificate it was shown.
"""

import asyncio
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from edgeproxy.clock import SystemClock
from edgeproxy.tls.certificate import parse_certificate
from edgeproxy.tls.vault import Vault
from tests.support.certificates import TestCertificate, authority
from tests.support.edge import EdgeProcess, command, json_of, until
from tests.support.http2 import Http2Client, head
from tests.support.pebble import Pebble, free_ports
from tests.support.scripted import Scripted, page, scripted
from tests.support.serving import Client as Http1Client

PATIENCE = 30.0


@contextlib.asynccontextmanager
async def site_for_https() -> AsyncIterator[Scripted]:
    """A site with one page that is kept and one that is not."""
    ways = {"/": page("hello", Cache_Control="no-store"), "/kept": page("kept", Cache_Control="max-age=600")}
    async with scripted(ways) as running:
        yield running


@dataclass(frozen=True)
class Seen:
    """One answer, and the certificate under which it came."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    leaf: x509.Certificate
    alpn: str | None

    def __getitem__(self, name: str) -> str:
        return next((value for key, value in self.fields if key.lower() == name.lower()), "")


@dataclass
class Connection:
    """One verified connection, over HTTP/1.1 or HTTP/2."""

    leaf: x509.Certificate
    alpn: str | None
    http1: Http1Client | None
    http2: Http2Client | None

    async def ask(self, host: str, target: str = "/") -> Seen:
        if self.http2 is not None:
            lines = head(target, authority=host)
            got2 = await self.http2.got(self.http2.request(lines))
            if not got2.ended:
                raise ConnectionError("ended without a whole answer")
            fields = tuple((name.decode(), value.decode("latin-1")) for name, value in got2.lines)
            return Seen(got2.status, fields, bytes(got2.body), self.leaf, self.alpn)
        assert self.http1 is not None
        self.http1.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        got = await self.http1.response()
        return Seen(got.status, got.fields, got.body, self.leaf, self.alpn)


def trusting(*roots: bytes, http2: bool = False, own: TestCertificate | None = None) -> ssl.SSLContext:
    """A client that believes `roots` (PEM) and nobody else."""
    context = ssl.create_default_context(cadata="".join(root.decode() for root in roots))
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    if own is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "client.pem")
            path.write_bytes(own.key + own.chain)
            context.load_cert_chain(path)
    return context


def blind() -> ssl.SSLContext:
    """A client that takes any certificate: to see which one it is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def connected(port: int, name: str, context: ssl.SSLContext) -> AsyncIterator[Connection]:
    """A connection to 127.0.0.1 under the name of a host, or its address. Raises what `ssl` raises."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name, limit=2**20)
    secure: ssl.SSLObject = writer.get_extra_info("ssl_object")
    leaf = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    alpn = secure.selected_alpn_protocol()
    http1 = Http1Client(reader, writer) if alpn != "h2" else None
    http2 = Http2Client(reader, writer) if alpn == "h2" else None
    if http2 is not None:
        http2.start()
    try:
        yield Connection(leaf, alpn, http1, http2)
    finally:
        if http2 is not None:
            await http2.close()
        else:
            writer.transport.abort()


async def plain(port: int, host: str, target: str, *lines: str) -> Seen:
    """One GET over plain HTTP, with more field lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Http1Client(reader, writer)
    try:
        more = "".join(f"{line}\r\n" for line in lines)
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode())
        got = await client.response()
    finally:
        await client.close()
    return Seen(got.status, got.fields, got.body, None, None)  # type: ignore[arg-type]


@dataclass
class SecureEdge:
    """An edge process with one plain and one TLS port of 127.0.0.1, which are known before it starts."""

    folder: Path
    http: int
    https: int
    roots: Callable[[], bytes]
    """What its certificates are verified by."""
    process: EdgeProcess = field(init=False)

    def __post_init__(self) -> None:
        self.process = EdgeProcess(self.folder / "edge.toml")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return self.process.log.read_text()

    def configure(self, *sites: str, acme: str = "", https: bool = True) -> Path:
        """Write the file: `sites` are tables `[[site]]` as text, `acme` the keys of `[acme]`."""
        listen = f'https = ["127.0.0.1:{self.https}"]' if https else ""
        self.process.config.write_text(
            f"""
[edge]
data = "{self.data}"
drain = "2s"
[listen]
http = ["127.0.0.1:{self.http}"]
{listen}
admin = "127.0.0.1:0"
[telemetry]
access_log = "off"
[acme]
{acme}
"""
            + "\n".join(sites)
        )
        return self.process.config

    async def start(self) -> None:
        await asyncio.to_thread(self.process.start)

    async def stop(self) -> int:
        return await asyncio.to_thread(self.process.stop)

    async def command(self, *arguments: str) -> Any:
        """What a command prints with --json; it finds this edge by its data folder."""
        return json_of(await asyncio.to_thread(command, *arguments, "--json", "--data", str(self.data)))

    async def ask(
        self, name: str, target: str = "/", *, http2: bool = False, host: str | None = None, own: TestCertificate | None = None
    ) -> Seen:
        """One verified request on a connection of its own."""
        async with connected(self.https, name, trusting(self.roots(), http2=http2, own=own)) as connection:
            return await connection.ask(host or name, target)

    async def plain(self, host: str, target: str = "/", *lines: str) -> Seen:
        return await plain(self.http, host, target, *lines)

    async def shown(self, name: str) -> x509.Certificate:
        """The certificate that `name` gets, whatever it is worth."""
        async with connected(self.https, name, blind()) as connection:
            return connection.leaf

    async def verified(self, name: str) -> Seen:
        """Wait until `name` is served under a certificate that can be verified; the first answer then."""

        async def attempt() -> Seen | None:
            try:
                return await self.ask(name)
            except (ssl.SSLError, ConnectionError):
                return None

        return await until(attempt, PATIENCE)

    async def certificates(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.command("certs", "list")
        return found

    async def certificate(self, name: str) -> dict[str, Any]:
        return next(one for one in await self.certificates() if name in one["names"])

    async def says(self, words: str) -> None:
        """Wait until the log has `words`."""

        async def look() -> bool | None:
            return words in self.log or None

        await until(look, PATIENCE)


@contextlib.contextmanager
def secure_edge(folder: Path, pebble: Pebble | None = None) -> Iterator[SecureEdge]:
    """An edge where `pebble` validates, or on free ports with certificates of the tests' own CA; killed at the end."""
    if pebble is not None:
        edge = SecureEdge(folder, pebble.http_port, pebble.tls_port, pebble.roots)
    else:
        http, https = free_ports(2)
        edge = SecureEdge(folder, http, https, lambda: authority().pem)
    try:
        yield edge
    finally:
        if edge.process.process is not None and edge.process.process.poll() is None:
            edge.process.kill()


def site(origin: str, *hosts: str, tls: str = "", more: str = "") -> str:
    """A `[[site]]` as text. `tls`: keys of `[site.tls]`; `more`: other tables of the site."""
    return f"[[site]]\nhosts = {json.dumps(hosts)}\norigins = [{json.dumps(origin)}]\n[site.tls]\n{tls}\n{more}\n"


def ask_pebble(pebble: Pebble, *challenges: str, more: str = "") -> str:
    """The keys of `[acme]` for it."""
    chosen = f"challenges = {json.dumps(challenges)}\n" if challenges else ""
    return f'directory = "{pebble.directory}"\ndirectory_ca_file = "{pebble.ca_file}"\nemail = "a@example.org"\n{chosen}{more}\n'


def put_into_vault(data: Path, certificate: TestCertificate, *, directory: str = "") -> None:
    """Have `certificate` in the vault of an edge that does not run, as if it came from `directory`; also one that has expired."""
    data.mkdir(mode=0o700, exist_ok=True)
    vault = Vault(data / "tls", SystemClock())
    vault.open()
    vault._store(parse_certificate(certificate.chain, certificate.key, directory=directory))


def files(folder: Path, certificate: TestCertificate) -> Sequence[str]:
    """Paths of two new files: its chain and its key."""
    paths = folder / f"{certificate.fingerprint[:8]}.crt", folder / f"{certificate.fingerprint[:8]}.key"
    for path, content in zip(paths, (certificate.chain, certificate.key), strict=True):
        path.write_bytes(content)
    return tuple(map(str, paths))
