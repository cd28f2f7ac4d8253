"""Pebble, Let's Encrypt's test authority, as a process on free ports of 127.0.0.1, with its DNS server.

    with running_pebble(tmp_path, nonce_reject=20) as pebble:
        pebble.directory, pebble.ca_file      # what to configure
        pebble.http_port, pebble.tls_port     # where it validates HTTP-01 and TLS-ALPN-01
        pebble.roots()                        # PEM, to verify what it issued

Every name resolves to 127.0.0.1. Its root is new at each start, and its memory of accounts is empty.
"""

import datetime
import ipaddress
import json
import os
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.parts import located
from tests.support.processes import started

PROGRAMS = ("pebble", "pebble-challtestsrv")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on for now, by TCP and by UDP."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            tcp = held.enter_context(socket.socket())
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(("127.0.0.1", 0))
            with suppress(OSError):  # taken by TCP; held nevertheless, so that it does not come again
                tcp.bind(udp.getsockname())
                ports.append(int(tcp.getsockname()[1]))
        return ports


class DnsServer:
    """The DNS server beside an authority (pebble-challtestsrv), over its management address."""

    def __init__(self, management: int) -> None:
        self.url = f"http://127.0.0.1:{management}"

    def post(self, path: str, **fields: object) -> None:
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(fields).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()

    def address(self, host: str, *addresses: str) -> None:
        self.post("add-a", host=host, addresses=addresses)

    def servfail(self, host: str) -> None:
        self.post("set-servfail", host=host)


@contextmanager
def running_dns(folder: Path, *, management: int, dns: int) -> Iterator[DnsServer]:
    """A DNS server that says 127.0.0.1 for every name, and keeps the TXT records that a hook gives it."""
    command = [
        located("pebble-challtestsrv"),
        *("-management", f"127.0.0.1:{management}", "-dns01", f"127.0.0.1:{dns}"),
        *("-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""),
    ]
    with started(command, folder / "dns.log", ready=lambda: listens(management), environ=os.environ):
        yield DnsServer(management)


@dataclass(frozen=True)
class Pebble:
    """A running Pebble."""

    directory: str
    port: int
    ca_file: Path
    """What its own HTTPS is verified by."""
    http_port: int
    tls_port: int
    management: str
    dns: DnsServer

    def roots(self, index: int = 0) -> bytes:
        """The root (PEM) of what it issues; with `alternate_roots` there are several."""
        return self._ask(f"/roots/{index}")

    def status(self, serial: int) -> str:
        """ "Valid" or "Revoked"."""
        return str(json.loads(self._ask(f"/cert-status-by-serial/{serial:x}"))["Status"])

    def _ask(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(self.management + path, timeout=10, context=context) as response:
            return bytes(response.read())


@contextmanager
def running_pebble(
    folder: Path,
    *,
    nonce_reject: int = 0,
    authz_reuse: int = 0,
    validity: int = 90 * 86_400,
    external_accounts: Mapping[str, str] | None = None,
    blocked: Sequence[str] = ("blocked.test",),
    alternate_roots: int = 0,
    port: int | None = None,
    http_port: int | None = None,
    tls_port: int | None = None,
) -> Iterator[Pebble]:
    """Pebble (-strict) until the end of the block.

    nonce_reject, authz_reuse: percent. validity: seconds. external_accounts: kid to HMAC key (base64url); given, they are
    required. port: of its directory, to start it again where it was. http_port, tls_port: where it validates; free ones when not
    given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    acme, management, dns_management, dns, http, tls = free_ports(6)
    acme, http, tls = port or acme, http_port or http, tls_port or tls
    certificate, key = own_certificate(folder)
    settings: dict[str, object] = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": http,
        "tlsPort": tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": external_accounts is not None,
        "domainBlocklist": list(blocked),
        "certificateValidityPeriod": validity,
    }
    if external_accounts is not None:
        settings["externalAccountMACKeys"] = dict(external_accounts)
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    environ = {
        **os.environ,
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
        "PEBBLE_AUTHZREUSE": str(authz_reuse),
        "PEBBLE_ALTERNATE_ROOTS": str(alternate_roots),
    }
    command = [located("pebble"), "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}", "-strict"]
    with (
        running_dns(folder, management=dns_management, dns=dns) as dns_server,
        started(command, folder / "pebble.log", ready=lambda: listens(acme) and listens(management), environ=environ),
    ):
        yield Pebble(f"https://127.0.0.1:{acme}/dir", acme, certificate, http, tls, f"https://127.0.0.1:{management}", dns_server)


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Certificate and key (paths) of the authority's own HTTPS on loopback; the certificate is its own trust anchor."""
    paths = folder / "authority.pem", folder / "authority.key"
    if paths[0].exists():
        return paths
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
