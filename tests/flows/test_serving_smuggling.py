"""The smuggling table against a connection with a recording handler: each vector is refused, or understood in one way only."""

import pytest

from tests.support.serving import Client, Heard, Served, get, on_uvloop, serving
from tests.support.smuggling import VECTORS, Vector

VICTIMS = ("/victim/one", "/victim/two")


async def victims(client: Client) -> None:
    client.send(b"".join(map(get, VICTIMS)))
    for target in VICTIMS:
        assert (await client.response()).body == f"GET {target} ".encode()


async def attack(client: Client, vector: Vector) -> bool:
    """Send the vector and judge its answers; whether the connection may go on."""
    client.send(vector.raw)
    for understood in vector.understood:
        got = await client.response(understood.method)
        assert got.status == 200
        assert got.body == b"%b %b %b" % (understood.method.encode(), understood.target.encode(), understood.body)
    if vector.then == "refused":
        got = await client.response()
        assert 400 <= got.status <= 599
        assert got.all("connection") == ["close"]
    if vector.then != "open":
        assert await client.rest() == b""
        return False
    return True


def test_the_table_is_large_enough_and_names_are_unique() -> None:
    assert len(VECTORS) >= 60
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
@on_uvloop
async def test_vector(vector: Vector) -> None:
    async with serving() as served:
        expected = [Heard(one.method, one.target, one.body) for one in vector.understood]
        async with served.client() as attacker:
            if await attack(attacker, vector):
                await victims(attacker)
                expected += [Heard("GET", target) for target in VICTIMS]
        await judge(served, expected)


async def judge(served: Served, expected: list[Heard]) -> None:
    async with served.client() as client:
        await victims(client)
    expected += [Heard("GET", target) for target in VICTIMS]
    assert [Heard(one.method, one.target, one.body) for one in served.handler.heard] == expected
