"""The smuggling table through the whole edge: each vector is refused, or forwarded so that it can be read in one way only, and
nobody who comes after it gets anything but what they asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edge import running_edge
from tests.support.raw_origin import answer
from tests.support.serving import PATIENCE, Client, Got, get, on_uvloop
from tests.support.smuggling import VECTORS, Understood, Vector
from tests.support.strict_origin import Ambiguous, Recorded, StrictOrigin, read_strictly

VICTIMS = ("/victim/one", "/victim/two")
STORED = "/stored"
CACHEABLE = (STORED, "/", "/next", "/smuggled", "/x", *VICTIMS)
"""What a vector might put other content under; `STORED` is in the cache before it comes."""


def own_content(method: str, target: str, body: bytes = b"") -> bytes:
    """What the origin answers: nobody else's answer looks like it."""
    return b"own content of %b %b [%b]" % (method.encode(), target.encode(), body)


def respond(request: Recorded) -> bytes:
    return answer(own_content(request.method, request.target, request.body), b"Cache-Control: max-age=600", b'ETag: "1"')


@dataclass
class Scene:
    """An edge with a strict origin behind it, and raw connections to it."""

    origin: StrictOrigin
    port: int

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**20))
        try:
            yield client
        finally:
            await client.close()

    async def ask(self, *targets: str) -> list[Got]:
        """The answers to GETs of `targets`, pipelined on a connection of their own."""
        async with self.client() as client:
            return await ask_on(client, *targets)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with (
        StrictOrigin(respond) as origin,
        running_edge(folder, origin.url, site='[site.origin]\nhost = "client"') as (edge, _),
    ):
        yield Scene(origin, int(edge.listener.addresses[0].rpartition(":")[2]))


async def ask_on(client: Client, *targets: str) -> list[Got]:
    client.send(b"".join(map(get, targets)))
    return [await client.response() for _ in targets]


def are_own(targets: tuple[str, ...], answers: list[Got]) -> None:
    assert [one.body for one in answers] == [own_content("GET", target) for target in targets]
    assert {one.status for one in answers} == {200}


async def attack(client: Client, vector: Vector) -> None:
    """Send the vector, read what it may be answered, and nothing beyond."""
    client.send(vector.raw)
    for understood in vector.understood:
        got = await client.response(understood.method)
        assert got.status == 200
        assert got.body == own_content(understood.method, understood.target, understood.body)
    if vector.then == "refused":
        got = await client.response()
        assert 400 <= got.status <= 599
        assert got.all("connection") == ["close"]
    if vector.then != "open":
        assert await client.rest() == b""


async def judge_origin(origin: StrictOrigin, before: int, understood: tuple[Understood, ...]) -> None:
    """What the origin got since it had `before` requests: those that were understood, for the right host, and no part of
    another one on a connection that lives."""
    assert origin.faults == []
    got = origin.recorded[before:]
    assert [Understood(one.method, one.target, one.body) for one in got] == list(understood)
    assert all(one.get("host") == "a.test" for one in got)
    async with asyncio.timeout(PATIENCE):
        for connection in origin.unfinished:
            await connection.ended.wait()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
@on_uvloop
async def test_a_vector_is_refused_or_forwarded_in_one_reading_and_victims_get_their_own(vector: Vector, tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        are_own((STORED,), await stage.ask(STORED))
        before = len(stage.origin.recorded)
        async with stage.client() as attacker:
            await attack(attacker, vector)
            await judge_origin(stage.origin, before, vector.understood)
            if vector.then == "open":
                are_own(VICTIMS, await ask_on(attacker, *VICTIMS))
        are_own(VICTIMS, await stage.ask(*VICTIMS))
        are_own(CACHEABLE, await stage.ask(*CACHEABLE))
        again = await stage.ask(*CACHEABLE)
        are_own(CACHEABLE, again)
        assert all("hit" in one.all("cache-status")[0] for one in again), "poison would show in what is stored, so it must be"
        assert stage.origin.faults == []
        asked = [one.target for one in stage.origin.recorded if not one.body and one.method == "GET"]
        assert len(asked) == len(set(asked)), "each is asked for once: no answer went astray"


AMBIGUOUS = {
    "two lengths": b"Content-Length: 1\r\nContent-Length: 1\r\n",
    "both lengths": b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "length with a sign": b"Content-Length: +1\r\n",
    "space before a colon": b"X : y\r\n",
    "folded": b"X: y\r\n z\r\n",
    "bare line end": b"X: y\nZ: z\r\n",
    "bare carriage return": b"X: y\rZ: z\r\n",
    "underscore": b"Content_Length: 1\r\n",
    "second host": b"Host: b.test\r\n",
    "upgrade": b"Upgrade: h2c\r\n",
    "a name in Connection": b"Connection: content-length\r\n",
}


@pytest.mark.parametrize("lines", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_the_recording_origin_takes_nothing_that_has_two_readings(lines: bytes) -> None:
    with pytest.raises(Ambiguous):
        read_strictly(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n1\r\n\r\n")


@pytest.mark.parametrize("vector", [one for one in VECTORS if one.then == "refused"], ids=lambda vector: vector.name)
def test_the_recording_origin_would_see_a_refused_vector_if_it_were_forwarded_as_it_is(vector: Vector) -> None:
    """Else the table would prove nothing: either the reading fails, or it finds other requests than were understood."""
    try:
        requests, rest = read_strictly(vector.raw)
    except Ambiguous:
        return
    seen = [Understood(one.method, one.target, one.body) for one in requests]
    assert rest or seen != list(vector.understood)
