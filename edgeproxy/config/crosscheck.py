"""Faults that no single value shows: two sites with one host, two listeners on one address, a data folder that cannot be.

Owns: those checks. They read the raw tables and pass over what is not usable by itself, so that all faults come at once.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgeproxy.config.cosigners import cosigner_faults
from edgeproxy.config.faults import path_text, value_text, where_text
from edgeproxy.config.flags import KeyPath
from edgeproxy.config.model import Edge, Listen
from edgeproxy.config.values import (
    Unfit,
    is_every_interface,
    is_loopback,
    parse_address,
    parse_duration,
    parse_host_pattern,
    parse_size,
    parse_tcp_address,
)
from edgeproxy.serving.addresses import Address

Raw = Mapping[str, Any]
Named = Mapping[KeyPath, str]
T = TypeVar("T")

_LISTEN_DEFAULTS = Listen()
_DATA_DEFAULT = str(Edge().data)


def cross_faults(raw: Raw, named: Named) -> Iterator[str]:
    """A line for each fault between values."""
    yield from _sites(raw)
    yield from _hosts(raw, named)
    yield from _listeners(raw, named)
    yield from _admin(raw, named)
    yield from _data(raw, named)
    yield from _cache_bounds(raw)
    yield from _https(raw, named)
    yield from _published(raw)
    yield from cosigner_faults(_table(raw, "ledger"))


def _sites(raw: Raw) -> Iterator[str]:
    if raw.get("site", []) == []:
        yield "site: none; allowed: at least one [[site]] with hosts and origins, or --origin URL"


def _published(raw: Raw) -> Iterator[str]:
    """Who needs a ledger that is not public."""
    ledger = _table(raw, "ledger")
    sites = list(_site_tables(raw))
    for index, site in enumerate(sites):
        hiding = "ledger.publish" if ledger.get("publish") is False else "publish" if site.get("publish") is False else None
        if hiding is not None and _table(site, "service_worker").get("mode") in ("on", "observe"):
            path = path_text(("site", index, "service_worker", "mode"))
            yield f"{path}: browsers need the ledger for their proofs, which is not public; allowed: with {hiding} = true"
    is_hidden = bool(sites) and all(site.get("publish") is False for site in sites)
    if is_hidden and ("validators" in ledger or "policy" in ledger):
        yield "site[0].publish: false for every site hides the blocks from the validators too; allowed: true for one of them"


def _hosts(raw: Raw, named: Named) -> Iterator[str]:
    seen: dict[str, KeyPath] = {}
    for index, site in enumerate(_site_tables(raw)):
        for position, value in enumerate(_list(site.get("hosts"))):
            path: KeyPath = ("site", index, "hosts", position)
            host = _usable(parse_host_pattern, value)
            if host is None:
                continue
            if host in seen:
                first = path_text(seen[host])
                yield f"{where_text(path, named)}: {value_text(value)} is already at {first}; allowed: each host once"
            else:
                seen[host] = path


def _listeners(raw: Raw, named: Named) -> Iterator[str]:
    listen = _table(raw, "listen")
    places: list[tuple[KeyPath, Address]] = []
    for position, value in enumerate(_list(listen.get("http", [str(address) for address in _LISTEN_DEFAULTS.http]))):
        if (address := _usable(parse_address, value)) is not None:
            places.append((("listen", "http", position), address))
    for position, value in enumerate(_list(listen.get("https"))):
        if (address := _usable(parse_tcp_address, value)) is not None:
            places.append((("listen", "https", position), address))
    if (admin := _usable(parse_tcp_address, listen.get("admin", str(_LISTEN_DEFAULTS.admin)))) is not None:
        places.append((("listen", "admin"), admin))
    for (first, one), (second, other) in itertools.combinations(places, 2):
        if _collide(one, other):
            yield (
                f"{where_text(second, named)}: {value_text(str(other))} takes the same address as {where_text(first, named)} "
                f"({one}); allowed: an address of its own for each"
            )


def _collide(one: Address, other: Address) -> bool:
    """True when the second of the two could not be bound. Port 0 is a free port each time."""
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    hosts = {"127.0.0.1" if address.host == "localhost" else address.host for address in (one, other)}
    if len(hosts) == 1:
        return True
    if "" in hosts:  # every interface of both families
        return True
    same_family = (":" in one.host) == (":" in other.host)
    return same_family and (is_every_interface(one) or is_every_interface(other))


def _admin(raw: Raw, named: Named) -> Iterator[str]:
    listen = _table(raw, "listen")
    address = _usable(parse_tcp_address, listen.get("admin", str(_LISTEN_DEFAULTS.admin)))
    if address is not None and not is_loopback(address) and listen.get("admin_public") is not True:
        where = where_text(("listen", "admin"), named)
        yield (
            f"{where}: {value_text(str(address))} can be reached from other machines; "
            "allowed: a loopback address, or listen.admin_public = true"
        )


def _data(raw: Raw, named: Named) -> Iterator[str]:
    value = _table(raw, "edge").get("data", _DATA_DEFAULT)
    if not isinstance(value, str) or not value or "\0" in value:
        return
    where = where_text(("edge", "data"), named)
    data = Path(value).absolute()
    try:
        if data.exists() and not data.is_dir():
            yield f"{where}: {value_text(value)} is not a folder; allowed: a folder, or a path where one can be made"
        elif not data.exists() and not data.parent.is_dir():
            yield f"{where}: {value_text(value)} has no parent folder; allowed: a path below an existing folder"
    except OSError as error:  # only the user who runs the edge may look there; starting says the rest
        if not isinstance(error, PermissionError):
            yield f"{where}: {value_text(value)} cannot be used ({error.strerror}); allowed: a path below an existing folder"


def _https(raw: Raw, named: Named) -> Iterator[str]:
    listen, acme = _table(raw, "listen"), _table(raw, "acme")
    hosts = [host for site in _site_tables(raw) for host in _list(site.get("hosts")) if isinstance(host, str)]
    if _list(listen.get("https")) and hosts and all(host == "*" for host in hosts) and "on_demand" not in acme:
        where = where_text(("listen", "https"), named)
        yield f"{where}: no site has a name; allowed: sites with host names (--host), or [acme.on_demand]"
    if listen.get("https") == [] and ("email" in acme or "directory" in acme):
        where = where_text(("listen", "https"), named)
        yield f"{where}: [] has no place for the certificates of [acme]; allowed: addresses, or no such key, which is :443"
    if "dns-01" in _list(acme.get("challenges")) and not _list(acme.get("dns_hook")):
        yield 'acme.challenges: "dns-01" has nobody to write the records; allowed: together with acme.dns_hook'
    if "on_demand" in acme and "email" not in acme and "directory" not in acme:
        yield "acme.on_demand: there is no authority to ask; allowed: together with acme.email or acme.directory"
    for index, site in enumerate(_site_tables(raw)):
        tls, path = _table(site, "tls"), ("site", index, "tls")
        if tls.get("client_auth", "off") != "off" and "client_ca_file" not in tls:
            yield f"{path_text((*path, 'client_auth'))}: nobody is named who signs the certificates; allowed: with client_ca_file"
        if tls.get("client_auth") == "required":
            yield from _ways_around(tls, path, has_https=bool(_list(listen.get("https"))))


def _ways_around(tls: Raw, path: KeyPath, *, has_https: bool) -> Iterator[str]:
    """Over plain HTTP nobody shows a certificate."""
    if not has_https:
        where = path_text((*path, "client_auth"))
        yield f'{where}: "required" would be asked of nobody over plain HTTP; allowed: with an address in listen.https'
    if tls.get("redirect") is False:
        where = path_text((*path, "redirect"))
        yield f"{where}: false lets clients without a certificate in over plain HTTP; allowed: true where they are required"


def _cache_bounds(raw: Raw) -> Iterator[str]:
    for index, site in enumerate(_site_tables(raw)):
        cache = _table(site, "cache")
        path: KeyPath = ("site", index, "cache")
        if (ttl := _usable(parse_duration, cache.get("default_ttl"))) is not None:
            longest = _usable(parse_duration, cache.get("max_ttl"))
            if longest is not None and ttl > longest:
                yield (
                    f"{path_text((*path, 'default_ttl'))}: {value_text(cache['default_ttl'])} is longer than max_ttl; "
                    f"allowed: up to {value_text(cache['max_ttl'])}"
                )
        memory = _usable(parse_size, _table(raw, "edge").get("memory", "256MiB"))
        largest = _usable(parse_size, cache.get("memory_object"))
        if memory is not None and largest is not None and largest > memory:
            yield (
                f"{path_text((*path, 'memory_object'))}: {value_text(cache['memory_object'])} is larger than edge.memory; "
                f"allowed: up to {value_text(_table(raw, 'edge').get('memory', '256MiB'))}"
            )


def _site_tables(raw: Raw) -> list[Raw]:
    return [site if isinstance(site, dict) else {} for site in _list(raw.get("site"))]


def _table(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _usable(parse: Callable[[Any], T], value: Any) -> T | None:
    """What `parse` makes of `value`, or None: its fault is reported by the model, not twice."""
    try:
        return parse(value)
    except Unfit:
        return None
