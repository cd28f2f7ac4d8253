"""Caddy's acme_server, a second and independent authority, in a network namespace of its own.

It validates on the fixed ports 80 and 443, and finds names by the system's resolver; so it runs, with its DNS server and with
whatever asks it, where those ports and /etc/resolv.conf are its own:

    done = inside_caddy(folder, [sys.executable, "-m", "tests.support.something"])

starts both, runs the command beside them, ends both, and returns what the command did. The command finds in its environment
CADDY_DIRECTORY, CADDY_CA_FILE (PEM: what the directory's HTTPS and all that it issues is verified by) and DNS_MANAGEMENT (the DNS
server's port); ports 80 and 443 of 127.0.0.1 are free, and every name is there. No other network is to be seen.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import located
from tests.support.pebble import listens, running_dns
from tests.support.processes import started

ROOT = Path(__file__).parents[2]
PROGRAMS = ("caddy", "pebble-challtestsrv", "unshare", "ip", "mount")

_ADMIN, _HTTPS, _HTTP, _DNS, _DNS_MANAGEMENT = 12019, 14443, 18081, 53, 8055

_CADDYFILE = """
{
	admin 127.0.0.1:%(admin)d
	storage file_system %(folder)s/storage
	skip_install_trust
	auto_https disable_redirects
	http_port %(http)d
	https_port %(https)d
	default_bind 127.0.0.1
	pki {
		ca local {
			name "Tests"
		}
	}
}
https://localhost:%(https)d {
	tls internal
	acme_server {
		ca local
		lifetime %(lifetime)s
		challenges http-01 tls-alpn-01 dns-01
		allow_wildcard_names
		resolvers 127.0.0.1:%(dns)d
	}
}
"""


@dataclass(frozen=True)
class CaddyAuthority:
    """A running acme_server."""

    directory: str
    ca_file: Path


def inside_caddy(
    folder: Path, command: Sequence[str], *, lifetime: str = "12h", timeout: float = 100.0
) -> subprocess.CompletedProcess[str]:
    """Run `command` (in the root of this repository) in a new namespace with a running acme_server."""
    folder.mkdir(parents=True, exist_ok=True)
    unshare = [located("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return subprocess.run(
        [*unshare, sys.executable, "-m", "tests.support.caddy_ca", str(folder), lifetime, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def running_caddy(folder: Path, lifetime: str) -> Iterator[CaddyAuthority]:
    """The acme_server itself; only inside a namespace that `prepare` has furnished."""
    ports = {"admin": _ADMIN, "https": _HTTPS, "http": _HTTP, "dns": _DNS}
    (folder / "Caddyfile").write_text(_CADDYFILE % {**ports, "folder": folder, "lifetime": lifetime})
    command = [located("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    environ = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        running_dns(folder, management=_DNS_MANAGEMENT, dns=_DNS),
        started(command, folder / "caddy.log", ready=lambda: listens(_ADMIN) and listens(_HTTPS), environ=environ),
    ):
        ca_file = folder / "caddy-root.pem"
        with urllib.request.urlopen(f"http://127.0.0.1:{_ADMIN}/pki/ca/local", timeout=10) as response:
            ca_file.write_text(json.load(response)["root_certificate"])
        yield CaddyAuthority(f"https://localhost:{_HTTPS}/acme/local/directory", ca_file)


def prepare(folder: Path) -> None:
    """Furnish the namespace this process is in: loopback, and a resolver that asks our DNS server. The host's files stay."""
    subprocess.run([located("ip"), "link", "set", "lo", "up"], check=True)
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("hosts", "127.0.0.1 localhost\n")):
        (folder / name).write_text(text)
        subprocess.run([located("mount"), "--bind", str(folder / name), f"/etc/{name}"], check=True)


def main(folder: Path, lifetime: str, command: Sequence[str]) -> int:
    """Inside the namespace."""
    prepare(folder)
    with running_caddy(folder, lifetime) as caddy:
        environ = {
            **os.environ,
            "CADDY_DIRECTORY": caddy.directory,
            "CADDY_CA_FILE": str(caddy.ca_file),
            "DNS_MANAGEMENT": str(_DNS_MANAGEMENT),
        }
        return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
