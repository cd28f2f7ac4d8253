"""What the text of one config value may be, and what it means: durations, sizes, addresses, origins, host patterns.

Owns: the parsers and the text that says what is allowed. Must not know the keys; those are `config.model`.
Every parser takes whatever TOML gave and raises `Unfit`.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.note_keys import ED25519, Verifier, parse_verifier
from edgeproxy.serving import addresses
from edgeproxy.serving.addresses import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Unfit(ValueError):
    """One value that cannot be used: `problem` says what is wrong with it, `allowed` what would be right."""

    def __init__(self, problem: str, allowed: str) -> None:
        super().__init__(f"{problem}; allowed: {allowed}")
        self.problem = problem
        self.allowed = allowed


DURATION_ALLOWED = 'a number with ms, s, m, h, d or w, like "100ms", "90s" or "7d"'
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_LONGEST = 100 * 365 * 86_400.0
_LONGEST_SOCKET_PATH = 107  # sun_path holds 108 bytes with its end mark


def parse_duration(value: Any) -> float:
    """Seconds of "90s", "1h30m" or "100ms"; "0" needs no unit."""
    if not isinstance(value, str) or not value:
        raise Unfit("is not a duration", DURATION_ALLOWED)
    if value == "0":
        return 0.0
    seconds = 0.0
    position = 0
    while position < len(value):
        part = _DURATION.match(value, position)
        if part is None:
            raise Unfit("is not a duration", DURATION_ALLOWED)
        seconds += float(part[1]) * _SECONDS[part[2]]
        position = part.end()
    if seconds > _LONGEST:
        raise Unfit("is too long", "up to 100 years")
    return round(seconds, 6)


def duration(*, at_least: float = 0.0, at_most: float = _LONGEST) -> Callable[[Any], float]:
    """A parser of durations between `at_least` and `at_most` seconds."""

    def parse(value: Any) -> float:
        seconds = parse_duration(value)
        if seconds < at_least:
            raise Unfit("is too short", f'"{show_duration(at_least)}" or more')
        if seconds > at_most:
            raise Unfit("is too long", f'up to "{show_duration(at_most)}"')
        return seconds

    return parse


def show_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`: "7d", "90s", "100ms"."""
    for unit in ("w", "d", "h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0"


SIZE_ALLOWED = 'a number with B, KiB, MiB, GiB or TiB (or kB, MB, GB, TB), like "64KiB" or "10GiB"'
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_BYTES |= {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(value: Any) -> int:
    """Bytes of "512MiB"; "0" needs no unit."""
    if value == "0":
        return 0
    part = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if part is None:
        raise Unfit("is not a size", SIZE_ALLOWED)
    return round(float(part[1]) * _BYTES[part[2]])


def size(*, at_least: int = 0) -> Callable[[Any], int]:
    """A parser of sizes of `at_least` bytes or more."""

    def parse(value: Any) -> int:
        octets = parse_size(value)
        if octets < at_least:
            raise Unfit("is too small", f'"{show_size(at_least)}" or more')
        return octets

    return parse


def show_size(octets: int) -> str:
    """The shortest exact text of `octets`: "512MiB", "1000B"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if octets >= _BYTES[unit] and octets % _BYTES[unit] == 0:
            return f"{octets // _BYTES[unit]}{unit}"
    return f"{octets}B" if octets else "0"


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A parser of whole numbers from `least` to `most`."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit("is not a whole number", f"a whole number from {least} to {most}")
        if not least <= value <= most:
            raise Unfit("is out of range", f"a whole number from {least} to {most}")
        return value

    return parse


def ratio(value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Unfit("is not a ratio", "a number from 0.0 (nothing) to 1.0 (everything)")
    return float(value)


def switch(value: Any) -> bool:
    """TOML's true or false; nothing else is taken for one."""
    if not isinstance(value, bool):
        raise Unfit("is not a switch", "true or false, without quotes")
    return value


def matching(pattern: str, what: str, allowed: str) -> Callable[[Any], str]:
    """A parser of strings that `pattern` matches whole."""
    compiled = re.compile(pattern)

    def parse(value: Any) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise Unfit(f"is not {what}", allowed)
        return value

    return parse


def workers(value: Any) -> int:
    """The number of serving processes; "auto" is what this version can do, which is one."""
    if value == "auto":
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unfit("is not a number of workers", '1 or "auto"')
    if value > 1:
        raise Unfit("is more than this version can run, which is one process", '1 or "auto"')
    return value


def existing_file(value: Any) -> Path:
    """A path to a file that is there."""
    if not isinstance(value, str) or not value or not Path(value).is_file():
        raise Unfit("is not a file", "the path of a file that exists")
    return Path(value)


def folder(value: Any) -> Path:
    """A path; whether it can be made there is a check across the file system (`config.crosscheck`)."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Unfit("is not a path", "the path of a folder, in quotes")
    return Path(value)


ADDRESS_ALLOWED = (
    'HOST:PORT, like "127.0.0.1:8080", "[::1]:8080", or ":8080" for every interface, with a port up to 65535; or "unix:/PATH"'
)
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")


def as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`host` as an IP address, or None when it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse_address(value: Any) -> Address:
    """An address to listen on; port 0 is any free one."""
    try:
        address = addresses.parse_address(value if isinstance(value, str) else "")
    except StartError:
        raise Unfit("is not an address", ADDRESS_ALLOWED) from None
    if len(address.path) > _LONGEST_SOCKET_PATH:
        raise Unfit("is too long for the path of a socket", ADDRESS_ALLOWED)
    host = address.host.lower()
    if host and as_ip(host) is None and (value.startswith("[") or not _is_name(host)):
        raise Unfit("is not an address", ADDRESS_ALLOWED)
    return replace(address, host=host)


def parse_tcp_address(value: Any) -> Address:
    """An address to listen on that is not a Unix socket."""
    address = parse_address(value)
    if address.path:
        raise Unfit("is a Unix socket", 'HOST:PORT, like "127.0.0.1:9180"')
    return address


def is_loopback(address: Address) -> bool:
    """True when only this machine can reach it."""
    ip = as_ip(address.host)
    return bool(address.path) or (address.host == "localhost" if ip is None else ip.is_loopback)


def is_every_interface(address: Address) -> bool:
    """True when it stands for all addresses of the machine, of one family or of both."""
    ip = as_ip(address.host)
    return not address.path and (address.host == "" if ip is None else ip.is_unspecified)


def _is_name(host: str) -> bool:
    """True for a host name. One whose last label is a number is a mistyped IPv4 address (WHATWG URL, host parsing)."""
    return _NAME.fullmatch(host) is not None and not host.rpartition(".")[2].isdecimal()


ORIGIN_ALLOWED = '"http://HOST[:PORT]", "https://HOST[:PORT]" or "unix:/PATH/TO/SOCKET", without path, query or password'


def parse_origin(value: Any) -> str:
    """An origin, normalised; a name in it need not resolve now."""
    if not isinstance(value, str):
        raise Unfit("is not an origin", ORIGIN_ALLOWED)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/") or len(path) > _LONGEST_SOCKET_PATH or "\0" in path:
            raise Unfit("is not the absolute path of a Unix socket", ORIGIN_ALLOWED)
        return f"unix:{path}"
    parts, port = _split_origin(value)
    host = (parts.hostname or "").lower()
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise Unfit("has more than a scheme, a host and a port", ORIGIN_ALLOWED)
    if as_ip(host) is None and not _is_name(host):
        raise Unfit("has no usable host", ORIGIN_ALLOWED)
    authority = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{authority}" if port is None else f"{parts.scheme}://{authority}:{port}"


def _split_origin(value: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise Unfit("is not an origin", ORIGIN_ALLOWED) from None
    if parts.scheme not in ("http", "https"):
        raise Unfit("is not an origin", ORIGIN_ALLOWED)
    if port == 0:
        raise Unfit("has no usable port", ORIGIN_ALLOWED)
    return parts, port


HOST_ALLOWED = (
    '"example.org", "*.example.org" for the names one label below it, or "*" for any; no scheme, no port; '
    "names beyond ASCII in their xn-- form"
)


def parse_host_pattern(value: Any) -> str:
    """A host of a site, lower-case; an IPv6 address is put into brackets, as `Request.host` has it."""
    text = value.lower() if isinstance(value, str) else ""
    if text == "*":
        return text
    address = as_ip(text.removeprefix("[").removesuffix("]"))
    if address is not None:
        return f"[{address}]" if address.version == 6 else str(address)
    name = text.removeprefix("*.")
    if not _is_name(name):
        raise Unfit("is not a host", HOST_ALLOWED)
    return text


def parse_network(value: Any) -> Network:
    """A network of trusted proxies; a single address is a network of one."""
    allowed = 'a network, like "10.0.0.0/8", "fd00::/8" or "192.0.2.7"'
    if not isinstance(value, str):
        raise Unfit("is not a network", allowed)
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Unfit("is not a network", allowed) from None
    raise Unfit("has bits set behind its prefix", f'"{meant}"')


def parse_http_url(value: Any) -> str:
    """An absolute http or https URL."""
    allowed = 'a URL, like "http://127.0.0.1:4318"'
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Unfit("is not a URL", allowed)
    return str(value)


def parse_mirror(value: Any) -> str:
    """Where a mirror's files begin: an absolute URL without query, fragment or password, and without the slash at its end."""
    allowed = '"https://HOST[:PORT][/PATH]", without query or password'
    try:
        parts = urlsplit(parse_http_url(value))
    except Unfit:
        raise Unfit("is not the URL of a mirror", allowed) from None
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        # A page over HTTPS may not fetch it (Mixed Content), and others have no service worker (Secure Contexts).
        raise Unfit("is a mirror without HTTPS, which browsers do not ask", allowed)
    plain = value.isascii() and value.isprintable() and " " not in value
    if parts.query or parts.fragment or "@" in parts.netloc or not plain or len(value) > 1024:
        raise Unfit("is not the URL of a mirror", allowed)
    return str(value).rstrip("/")


def _is_this_machine(host: str) -> bool:
    ip = as_ip(host)
    return host == "localhost" or host.endswith(".localhost") if ip is None else ip.is_loopback


def parse_verifier_key(value: Any) -> str:
    """The public key of a log, as `edgeproxy ledger head` prints it (C2SP signed-note)."""
    allowed = 'NAME+HASH+KEY, as "edgeproxy ledger head" prints it on the other edge'
    verifier = _verifier(value, allowed)
    if verifier.kind != ED25519:
        raise Unfit("is not the key of a log", allowed)
    return str(verifier)


def parse_cosigner_key(value: Any) -> str:
    """The verifier key of one who cosigns (C2SP tlog-cosignature)."""
    allowed = 'the key that `edgeproxy validator init` printed, like "validator.example.org+1a2b3c4d+BE5d…"'
    verifier = _verifier(value, allowed)
    if verifier.kind == ED25519:
        raise Unfit("is the key of a log, which does not cosign", allowed)
    return str(verifier)


def _verifier(value: Any, allowed: str) -> Verifier:
    try:
        return parse_verifier(value if isinstance(value, str) else "")
    except ProofRefused as error:
        raise Unfit(f"is not a verifier key ({error.text})", allowed) from None


def listed(what: str, *, least: int = 0, most: int | None = None) -> Callable[[Any], tuple[Any, ...]]:
    """A check that a value is a list of `least` to `most` items; the items are judged one by one, under their index."""

    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Unfit("is not a list", f"a list of {what}")
        if len(value) < least:
            raise Unfit("is empty", f"at least one of {what}")
        if most is not None and len(value) > most:
            raise Unfit("is too long", f"up to {most} {what}")
        return tuple(value)

    return parse
