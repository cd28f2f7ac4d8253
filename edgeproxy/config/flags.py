"""What the command line says about the configuration, laid over what the file says.

Owns: `Flags` and their precedence. Must not judge values; a fault in one is reported under the flag's name.
"""

import copy
from dataclasses import dataclass
from typing import Any

from edgeproxy.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Where a value stands: ("site", 0, "cache", "default_ttl")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line says, as typed; empty where it says nothing."""

    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    email: str | None = None
    listen: tuple[str, ...] = ()
    listen_tls: tuple[str, ...] = ()
    acme_directory: str | None = None
    acme_ca: str | None = None
    admin: str | None = None
    data: str | None = None
    workers: str | None = None
    service_worker: str | None = None
    """Mode of the service worker of the one site that `origins` make; the demo's is on."""


NO_FLAGS = Flags()


def overlay(raw: dict[str, Any], flags: Flags) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """`raw` with the flags over it, and for each path that a flag gave, the flag's name."""
    raw = copy.deepcopy(raw)
    named: dict[KeyPath, str] = {}
    workers: Any = int(flags.workers) if flags.workers and flags.workers.isdecimal() else flags.workers
    for table, key, value, flag in (
        ("listen", "http", list(flags.listen) or None, "--listen"),
        ("listen", "https", list(flags.listen_tls) or None, "--listen-tls"),
        ("acme", "email", flags.email, "--email"),
        ("acme", "directory", flags.acme_directory, "--acme-directory"),
        ("acme", "directory_ca_file", flags.acme_ca, "--acme-ca"),
        ("listen", "admin", flags.admin, "--admin"),
        ("edge", "data", flags.data, "--data"),
        ("edge", "workers", workers, "--workers"),
    ):
        if value is not None and isinstance(below := raw.setdefault(table, {}), dict):
            below[key] = value
            named[(table, key)] = flag
    if flags.origins or flags.hosts:
        _overlay_site(raw, flags, named)
    _open_public_ports(raw)
    return raw, named


def _open_public_ports(raw: dict[str, Any]) -> None:
    """Who names an authority wants HTTPS: ports 80 and 443, unless addresses are given."""
    acme, listen = raw.get("acme"), raw.setdefault("listen", {})
    if isinstance(acme, dict) and isinstance(listen, dict) and ("email" in acme or "directory" in acme):
        listen.setdefault("https", [":443"])
        listen.setdefault("http", [":80"])


def _overlay_site(raw: dict[str, Any], flags: Flags, named: dict[KeyPath, str]) -> None:
    """`--origin` and `--host` make the only site, or change the only one of the file."""
    sites = raw.setdefault("site", [])
    if not isinstance(sites, list):
        return  # the model says that it must be [[site]]
    if len(sites) > 1:
        raise ConfigError([f"--origin, --host: the file has {len(sites)} sites; allowed: these flags with one [[site]] at most"])
    if not sites:
        if not flags.origins:
            raise ConfigError(["--host: there is no origin for it; allowed: --host together with --origin URL"])
        sites.append({"hosts": ["*"]})
    site = sites[0]
    if not isinstance(site, dict):
        return
    if flags.origins:
        site["origins"] = list(flags.origins)
        named[("site", 0, "origins")] = "--origin"
    if flags.service_worker:
        site.setdefault("service_worker", {"mode": flags.service_worker})
    if flags.hosts:
        site["hosts"] = list(flags.hosts)
        named[("site", 0, "hosts")] = "--host"
