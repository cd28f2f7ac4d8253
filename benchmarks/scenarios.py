"""What is asked of each server, and what must be true of the answers for a figure to count."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import connects
from benchmarks.origin import ETAG, object_size, text

MEGABYTE = 1_000_000

SEED = "{seed}"
"""Stands for another number in every run of wrk: with the same one, each run would repeat the request heads of the one before, in
the same order, and whoever remembers heads would look better than it is."""


PLAIN = ("hit-1k", "hit-10k", "hit-1m", "304", "miss", "zipf", "crowd")
"""Keys of what is asked without TLS; the last one is no load, but one burst (`benchmarks.load`)."""
HTTP2 = ("h2-10k-1", "h2-10k-10")
HANDSHAKES = ("handshake", "resumed")
SECURE = ("tls-10k", *HTTP2, *HANDSHAKES)
CACHING = ("304", "miss", "zipf", "crowd")
"""What only a server in front of an origin can do."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load, by one tool; `probe` is a path that shows whether the answer is right."""

    key: str
    title: str
    script: str
    """For wrk; empty for the other tools."""
    arguments: tuple[str, ...]
    """For wrk: of its script. For h2load: streams at once, path. For connects: its mode."""
    probe: str
    probe_fields: tuple[str, ...] = ()
    status: int = 200
    body: bytes = b""
    warm: tuple[str, ...] = ()
    from_cache: bool = True
    """The origin must not be asked at all while this runs (a few stray requests are allowed for a Zipf mix)."""
    tool: str = "wrk"
    """"wrk", "h2load" or "connects"."""
    protocol: str = ""
    """What ALPN has to settle on; empty: no TLS."""


def hit(key: str, title: str, size: int) -> Scenario:
    path = f"/b/{size}"
    return Scenario(key, title, "same.lua", (path,), path, body=text(size), warm=(path,))


def secure_hit(key: str, title: str, *, streams: int = 0) -> Scenario:
    """10 KB over TLS: HTTP/1.1, or HTTP/2 with so many streams at once on each connection."""
    path = "/b/10240"
    body = text(10_240)
    if not streams:
        return Scenario(key, title, "same.lua", (path,), path, body=body, warm=(path,), protocol="http/1.1")
    return Scenario(key, title, "", (str(streams), path), path, body=body, warm=(path,), tool="h2load", protocol="h2")


def handshake(key: str, title: str, mode: str) -> Scenario:
    """New connections, each with one small cached hit: a handshake that nobody uses would spare some servers work."""
    path = connects.PATH
    body = text(connects.SIZE)
    return Scenario(key, title, "", (mode,), path, body=body, warm=(path,), tool="connects", protocol="http/1.1")


def secure() -> Iterable[Scenario]:
    """All that goes over TLS."""
    yield secure_hit("tls-10k", "TLS, HTTP/1.1, hit, 10 KB")
    yield secure_hit("h2-10k-1", "HTTP/2, hit, 10 KB, 1 stream", streams=1)
    yield secure_hit("h2-10k-10", "HTTP/2, hit, 10 KB, 10 streams", streams=10)
    yield handshake("handshake", "TLS, full handshake each", "full")
    yield handshake("resumed", "TLS, resumed handshake each", "resumed")


def zipf(objects: int) -> Scenario:
    return Scenario(
        "zipf",
        f"Zipf mix, {objects:,} objects of 1-20 KB",
        "zipf.lua",
        (str(objects), "1.0", SEED),
        "/z/1",
        body=text(object_size(1)),
        warm=tuple(f"/z/{number}" for number in range(1, objects + 1)),
    )


def scenarios(objects: int, run: str) -> Iterable[Scenario]:
    """All but the crowd. `run` makes the paths of this run its own."""
    yield hit("hit-1k", "hit, 1 KB", 1024)
    yield hit("hit-10k", "hit, 10 KB", 10_240)
    yield hit("hit-1m", "hit, 1 MB", MEGABYTE)
    validator = f"If-None-Match: {ETAG}"
    yield Scenario(
        "304",
        "304, If-None-Match",
        "same.lua",
        ("/b/10240", f"If-None-Match={ETAG}"),
        "/b/10240",
        (validator,),
        304,
        warm=("/b/10240",),
    )
    yield from secure()
    path = f"/n/10240/{run}-"
    yield Scenario("miss", "miss, 10 KB, no-store", "unique.lua", (path,), f"{path}0", body=text(10_240), from_cache=False)
    yield zipf(objects)
