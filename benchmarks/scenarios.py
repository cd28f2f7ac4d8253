"""What is asked of each server, and what must be true of the answers for a figure to count."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.origin import ETAG, object_size, text

MEGABYTE = 1_000_000

SEED = "{seed}"
"""Stands for another number in every run of wrk: with the same one, each run would repeat the request heads of the one before, in
the same order, and whoever remembers heads would look better than it is."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load. `script` and `arguments` are wrk's; `probe` is a path that shows whether the answer is right."""

    key: str
    title: str
    script: str
    arguments: tuple[str, ...]
    probe: str
    probe_fields: tuple[str, ...] = ()
    status: int = 200
    body: bytes = b""
    warm: tuple[str, ...] = ()
    from_cache: bool = True
    """The origin must not be asked at all while this runs (a few stray requests are allowed for a Zipf mix)."""


def hit(key: str, title: str, size: int) -> Scenario:
    path = f"/b/{size}"
    return Scenario(key, title, "same.lua", (path,), path, body=text(size), warm=(path,))


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
    """All that wrk measures. `run` makes the paths of this run its own."""
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
    path = f"/n/10240/{run}-"
    yield Scenario("miss", "miss, 10 KB, no-store", "unique.lua", (path,), f"{path}0", body=text(10_240), from_cache=False)
    yield zipf(objects)
