"""What comes before and behind a message: 100 (Continue), 103 (Early Hints), trailers."""

import asyncio
from pathlib import Path

import pytest

from tests.support.edge import connected, running_edge
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.raw_origin import answer as raw_answer
from tests.support.scripted import page, scripted

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nConnection: close\r\n\r\n"


# --- RFC 9110 section 10.1.1, 100-continue


async def test_a_client_that_expects_100_gets_it_before_it_sends_its_body(tmp_path: Path) -> None:
    async with (
        scripted({"/up": page("taken", 201)}) as origin,
        running_edge(tmp_path, origin.url) as (edge, _),
        connected(edge) as client,
    ):
        client.send(b"PUT /up HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await client.response("PUT", interim=True)).status == 100
        client.send(b"hello")
        assert (await client.response("PUT", interim=True)).status == 201
    assert "Expect" not in origin.last("/up").fields


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    limited = '[limits]\nbody = "100B"\n'
    async with (
        scripted({"/up": page()}) as origin,
        running_edge(tmp_path, origin.url, more=limited) as (edge, _),
        connected(edge) as client,
    ):
        client.send(b"PUT /up HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n")
        assert (await client.response("PUT", interim=True)).status == 413
        assert await client.rest() == b""
    assert origin.asked == []


async def test_an_origin_that_refuses_at_once_spares_the_client_its_body(tmp_path: Path) -> None:
    """The final answer comes although the body never does; the connection closes, for nobody knows whether it will."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(raw_answer(b"log in first", b"Connection: close", status=b"401 Unauthorized"))
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(b"PUT /up HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
        got = await client.response("PUT")
        assert (got.status, got.body) == (401, b"log in first")


# --- RFC 8297, early hints


@pytest.mark.parametrize("cache_control", [b"no-store", b"max-age=60"], ids=["passed on", "stored"])
async def test_early_hints_reach_the_client_before_the_answer_is_there(tmp_path: Path, cache_control: bytes) -> None:
    gate = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(HINTS)
        await gate.wait()
        await connection.send(raw_answer(b"page", b"Cache-Control: " + cache_control))

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(b"GET /page HTTP/1.1\r\nHost: a.test\r\n\r\n")
        hints = await client.response(interim=True)
        assert (hints.status, hints.all("Link")) == (103, ["</style.css>; rel=preload; as=style"])
        assert hints.all("Connection") == []
        gate.set()
        assert (await client.response(interim=True)).body == b"page"


async def test_early_hints_are_kept_from_http_1_0(tmp_path: Path) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(HINTS + raw_answer(b"page"))

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(b"GET /page HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert (await client.response(interim=True)).status == 200


# --- RFC 9110 section 6.5, trailers

SUMMED = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n%b\r\n4\r\npage\r\n0\r\nX-Sum: 42\r\n\r\n"


@pytest.mark.parametrize(
    ("asks", "expected"),
    [(b"TE: trailers\r\nConnection: TE\r\n", (("X-Sum", "42"),)), (b"", ())],
    ids=["to who asks for them", "to nobody else"],
)
async def test_trailers_of_a_passed_answer_go_on(tmp_path: Path, asks: bytes, expected: tuple[tuple[str, str], ...]) -> None:
    async def serve(connection: RawConnection) -> None:
        while await connection.read_head():
            await connection.send(SUMMED % b"Cache-Control: no-store\r\n")

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (edge, _), connected(edge) as client:
        client.send(b"GET /page HTTP/1.1\r\nHost: a.test\r\n" + asks + b"\r\n")
        got = await client.response()
    assert got.body == b"page"
    assert got.trailers == expected
    assert b"\r\nte:" not in origin.heads[0].lower()


async def test_a_stored_answer_has_no_trailers_and_is_whole_without_them(tmp_path: Path) -> None:
    async def serve(connection: RawConnection) -> None:
        while await connection.read_head():
            await connection.send(SUMMED % b"Cache-Control: max-age=60\r\n")

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (_, client):
        await client.ask("/page")
        again = await client.recorded("/page")
    assert again.body == b"page"
    assert (again["Content-Length"], again["X-Sum"], again["Trailer"]) == ("4", "", "")
    assert len(origin.heads) == 1


async def test_trailers_of_a_request_are_read_and_end_it(tmp_path: Path) -> None:
    """They may be dropped (RFC 9110 section 6.5.1), but never be taken for what follows."""
    async with (
        scripted({"/up": page("taken"), "/next": page("next")}) as origin,
        running_edge(tmp_path, origin.url) as (edge, _),
        connected(edge) as client,
    ):
        client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n")
        client.send(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert [(await client.response()).body for _ in range(2)] == [b"taken", b"next"]
    assert "X-Sum" not in origin.last("/up").fields
