"""Fields that `private="…"` and `no-cache="…"` list (RFC 9111 sections 5.2.2.4 and 5.2.2.7), and Surrogate-Capability."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.tasks import spawn
from tests.support.edge import running_edge, until
from tests.support.scripted import Gate, page, scripted

LISTED = {"Cache_Control": 'max-age=60, private="set-cookie"', "Set_Cookie": "id=1"}


@pytest.mark.parametrize("directive", ["private", "no-cache"])
async def test_a_listed_cookie_goes_to_its_visitor_and_to_nobody_else(tmp_path: Path, directive: str) -> None:
    way = page("hello", Cache_Control=f'max-age=60, {directive}="set-cookie"', Set_Cookie="id=1")
    async with scripted({"/page": way}) as origin, running_edge(tmp_path, origin.url) as (_, client):
        first = await client.ask("/page")
        again = await client.recorded("/page")
        assert origin.count("/page") == 1
    assert first["Set-Cookie"] == "id=1"
    assert "stored" in first["Cache-Status"]
    assert "hit" in again["Cache-Status"]
    assert "Set-Cookie" not in again.headers


async def test_who_shares_a_fetch_does_not_get_the_listed_field_of_who_led_it(tmp_path: Path) -> None:
    gate = Gate(page("hello", **LISTED))
    async with scripted({"/page": gate}) as origin, running_edge(tmp_path, origin.url) as (edge, client):
        asked = [spawn(client.ask("/page"), name="visitor") for _ in range(5)]

        async def joined() -> bool | None:
            return True if edge.flights.joined == 4 else None

        await until(joined)
        gate.open()
        answers = await asyncio.gather(*asked)
        assert origin.count("/page") == 1
    assert sorted(answer["Set-Cookie"] for answer in answers) == ["", "", "", "", "id=1"]
    assert [answer.body for answer in answers] == [b"hello"] * 5


async def test_a_confirmation_brings_no_listed_field_into_the_store(tmp_path: Path) -> None:
    way = page("hello", Cache_Control='max-age=0, private="x-visitor"', ETag='"a"', X_Visitor="1")
    async with scripted({"/page": way}) as origin, running_edge(tmp_path, origin.url) as (_, client):
        first = await client.ask("/page")
        confirmed = await client.ask("/page")
    assert first["X-Visitor"] == "1"
    assert "fwd-status=304" in confirmed["Cache-Status"]
    assert "X-Visitor" not in confirmed.headers


@pytest.mark.parametrize(
    ("tables", "expected"),
    [('[site.cache]\ntargeted = ["Surrogate-Control"]', 'edgeproxy="Surrogate/1.0"'), ("", None)],
    ids=["surrogate-control is read", "it is not"],
)
async def test_the_origin_is_told_whether_surrogate_control_is_read_and_not_what_a_visitor_claims(
    tmp_path: Path, tables: str, expected: str | None
) -> None:
    ways = {"/page": page("hello", Cache_Control="no-store", Surrogate_Control="max-age=60;edgeproxy")}
    async with scripted(ways) as origin, running_edge(tmp_path, origin.url, site=tables) as (_, client):
        first = await client.ask("/page", headers={"Surrogate-Capability": 'me="ESI/1.0"'})
        assert origin.last("/page").fields.get("Surrogate-Capability") == expected
    assert ("stored" in first["Cache-Status"]) is (expected is not None)
