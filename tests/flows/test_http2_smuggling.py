"""The table of malformed HTTP/2 through the whole edge: nothing of it arrives at the origin as a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.edge import running_edge
from tests.support.http2 import Http2Client, Served2, head, serving2
from tests.support.http2_vectors import OPENING, VECTORS, Vector, good
from tests.support.raw_origin import answer
from tests.support.serving import PATIENCE, on_uvloop
from tests.support.strict_origin import Recorded, StrictOrigin


def respond(request: Recorded) -> bytes:
    return answer(b"own content of %b" % request.target.encode(), b"Cache-Control: max-age=600")


@dataclass
class Scene:
    origin: StrictOrigin
    served: Served2


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with (
        StrictOrigin(respond) as origin,
        running_edge(folder, origin.url, site='[site.origin]\nhost = "client"') as (edge, _),
        serving2(edge.handler) as served,
    ):
        yield Scene(origin, served)


async def attack(client: Http2Client, vector: Vector) -> None:
    """Send the vector and wait for what it is answered."""
    client.broken = True
    client.send(OPENING + vector.raw + good())
    if vector.then == "goaway":
        await client.settled(lambda: bool(client.goaways))
        assert client.goaways[0][0] == vector.code
        return
    await client.settled(lambda: seen_on(client, 101))
    assert client.goaways == []


def seen_on(client: Http2Client, stream: int) -> bool:
    return any(kind == 0 and flags & 1 and number == stream for kind, flags, number, _ in client.seen)


async def judge_origin(origin: StrictOrigin) -> None:
    """Only whole requests that are well, for the right host; parts of others on connections that end."""
    assert origin.faults == []
    assert [(one.method, one.target, one.body) for one in origin.recorded if one.target != "/next"] == []
    assert all(one.get("host") == "a.test" for one in origin.recorded)
    async with asyncio.timeout(PATIENCE):
        for connection in origin.unfinished:
            await connection.ended.wait()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
@on_uvloop
async def test_a_vector_never_arrives_at_the_origin(vector: Vector, tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        async with stage.served.client(starts=False) as attacker:
            await attack(attacker, vector)
            await judge_origin(stage.origin)
        async with stage.served.client() as victim:
            got = await victim.ask("/next")
            assert (got.status, bytes(got.body)) == (200, b"own content of /next")
            got = await victim.got(victim.request(head("/post", method="POST"), ended=True))
            assert (got.status, bytes(got.body)) == (200, b"own content of /post")
        assert stage.origin.faults == []
        assert [one.target for one in stage.origin.recorded].count("/next") <= 1
