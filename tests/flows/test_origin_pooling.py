"""Which connection carries a request: reuse, the retry on a fresh one, the next origin, limits, and the errors of connecting."""

import asyncio
import socket
from collections import deque
from pathlib import Path

import pytest

from edgeproxy.errors import (
    OriginConnectTimeout,
    OriginError,
    OriginRefused,
    OriginReset,
    OriginTruncated,
    OriginUnresolved,
)
from edgeproxy.origin.balancer import Outcome, RoundRobin
from edgeproxy.origin.messages import Origin, OriginSettings
from tests.support.origin_client import QUICK, ask, asking, pieces_of, whole
from tests.support.raw_origin import RawConnection, RawOrigin, always, answer, free_port, reads_then_closes

OK = answer(b"ok")


async def test_connections_are_reused_one_after_the_other() -> None:
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        for _ in range(5):
            assert await whole(await client.fetch(ask("/"))) == b"ok"
        assert len(origin.connections) == 1


async def test_a_pooled_connection_that_died_is_retried_once_on_a_fresh_one() -> None:
    """RFC 9110 section 9.2.2, RFC 9112 section 9.3.1."""
    async with RawOrigin(reads_then_closes) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/1"))) == b"ok"
        response = await client.fetch(ask("/2"))
        assert response.tries == 2
        assert await whole(response) == b"ok"
    assert [head.split(b" ")[1] for head in origin.heads] == [b"/1", b"/2", b"/2"]


async def test_the_retry_does_not_run_into_the_next_dying_connection_of_the_pool() -> None:
    """Both pooled connections look alive and die on use: the retry must be on a new one."""
    go = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        if await connection.read_head():
            if connection.number <= 2:
                await go.wait()
            await connection.send(OK)
            await connection.read_head()

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        both = [asyncio.ensure_future(client.fetch(ask("/"))) for _ in range(2)]
        while len(origin.heads) < 2:
            await asyncio.wait(both, timeout=0.01)
        go.set()
        for fetch in both:
            assert await whole(await fetch) == b"ok"
        response = await client.fetch(ask("/"))
        assert (response.tries, await whole(response)) == (2, b"ok")
        assert len(origin.connections) == 3


@pytest.mark.parametrize(
    "request_options",
    [{"method": "POST"}, {"method": "GET", "repeatable": False}],
    ids=["POST", "not repeatable"],
)
async def test_what_is_not_repeatable_is_not_sent_twice(request_options: dict[str, object]) -> None:
    """RFC 9110 section 9.2.2: the origin may have acted on it."""
    async with RawOrigin(reads_then_closes) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/1"))) == b"ok"
        with pytest.raises(OriginReset):
            await client.fetch(ask("/2", **request_options))  # type: ignore[arg-type]
    assert [head.split(b" ")[1] for head in origin.heads] == [b"/1", b"/2"]


async def test_a_body_that_was_begun_is_not_sent_twice() -> None:
    async with RawOrigin(reads_then_closes) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/1"))) == b"ok"
        with pytest.raises(OriginReset):
            await client.fetch(ask("/2", "PUT", repeatable=True, body=pieces_of(b"a"), body_length=1))
    assert len(origin.heads) == 2


async def test_a_fresh_connection_that_dies_is_not_retried() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        with pytest.raises(OriginReset):
            await client.fetch(ask("/"))
    assert len(origin.heads) == 1


async def test_one_byte_of_an_answer_forbids_the_retry() -> None:
    async def serve(connection: RawConnection) -> None:
        if await connection.read_head():
            await connection.send(OK)
            await connection.read_head()
            await connection.send(b"H")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/1"))) == b"ok"
        with pytest.raises(OriginReset):
            await client.fetch(ask("/2"))
    assert len(origin.heads) == 2


async def test_a_pooled_connection_that_the_origin_closed_is_seen_before_anything_is_sent() -> None:
    """So that even a POST after an origin's idle time-out succeeds."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(OK)

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/"))) == b"ok"
        await origin.connections[0].ended.wait()
        response = await client.fetch(ask("/", "POST"))
        assert (response.tries, await whole(response)) == (1, b"ok")


async def test_an_origin_that_restarted_is_found_again_though_every_pooled_connection_died() -> None:
    go = asyncio.Event()

    async def old(connection: RawConnection) -> None:
        await connection.read_head()
        await go.wait()
        await connection.send(OK)
        await connection.read_head()

    async with RawOrigin(old) as first:
        port = first.port
        async with asking(first.url) as client:
            fetches = [asyncio.ensure_future(client.fetch(ask("/"))) for _ in range(5)]
            while len(first.heads) < 5:
                await asyncio.wait(fetches, timeout=0.01)
            go.set()
            for fetch in fetches:
                assert await whole(await fetch) == b"ok"
            await first.__aexit__(None, None, None)
            async with RawOrigin(always(OK), port=port):
                for _ in range(5):
                    assert await whole(await client.fetch(ask("/"))) == b"ok"


async def test_idle_connections_are_closed_after_the_keepalive_time() -> None:
    settings = OriginSettings(keepalive_timeout=0.2)
    async with RawOrigin(always(OK)) as origin, asking(origin.url, settings=settings) as client:
        await whole(await client.fetch(ask("/")))
        await asyncio.wait_for(origin.connections[0].ended.wait(), 3)


async def test_a_request_waits_no_longer_than_the_connect_time_for_a_free_place() -> None:
    settings = OriginSettings(connect_timeout=0.3, connections=1)

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=settings) as client:
        holder = await client.fetch(ask("/"))
        with pytest.raises(OriginConnectTimeout):
            await client.fetch(ask("/"))
        waiting = asyncio.ensure_future(client.fetch(ask("/")))
        await asyncio.wait({waiting}, timeout=0.05)
        await holder.close()
        await (await waiting).close()
        assert len(origin.connections) == 2


async def test_nobody_listens() -> None:
    async with asking(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(OriginRefused):
            await client.fetch(ask("/"))


async def test_no_such_socket(tmp_path: Path) -> None:
    async with asking(f"unix:{tmp_path}/none.sock") as client:
        with pytest.raises(OriginRefused):
            await client.fetch(ask("/"))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid", "127.1"])
async def test_a_name_without_an_address(host: str) -> None:
    """RFC 6761 section 6.4: .invalid never resolves."""
    async with asking(f"http://{host}:80") as client:
        with pytest.raises(OriginUnresolved):
            await client.fetch(ask("/"))


async def test_a_listener_that_never_accepts() -> None:
    settings = OriginSettings(connect_timeout=0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = deque[socket.socket]()
        try:
            for _ in range(4):  # fill the queue of connections that wait to be accepted
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            async with asking(f"http://127.0.0.1:{port}", settings=settings) as client:
                with pytest.raises(OriginConnectTimeout):
                    await client.fetch(ask("/"))
        finally:
            for filler in fillers:
                filler.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with RawOrigin(always(OK), unix=tmp_path / "origin.sock") as origin, asking(origin.url) as client:
        for _ in range(2):
            assert await whole(await client.fetch(ask("/a?"))) == b"ok"
        assert len(origin.connections) == 1
        assert origin.heads[0] == b"GET /a? HTTP/1.1\r\nHost: www.example.org\r\n\r\n"


class Remembering(RoundRobin):
    """Keeps what it is told."""

    def __init__(self, origins: list[Origin]) -> None:
        super().__init__(origins)
        self.reports: list[tuple[str, Outcome]] = []

    def report(self, origin: Origin, outcome: Outcome) -> None:
        self.reports.append((origin.url, outcome))


async def test_origins_take_turns() -> None:
    async with RawOrigin(always(answer(b"1"))) as one, RawOrigin(always(answer(b"2"))) as two, asking(one.url, two.url) as client:
        got = [await whole(await client.fetch(ask("/"))) for _ in range(4)]
    assert got == [b"1", b"2", b"1", b"2"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_next_origin_is_tried_when_the_first_cannot_be_connected_to(method: str) -> None:
    """Not one byte was sent, so this is no repetition, whatever the method."""
    dead = f"http://127.0.0.1:{free_port()}"
    async with RawOrigin(always(OK)) as origin:
        balancer = Remembering([Origin(dead), Origin(origin.url)])
        async with asking(dead, origin.url, balancer=balancer) as client:
            response = await client.fetch(ask("/", method, body=pieces_of(b"abc") if method == "POST" else None, body_length=3))
            assert (response.tries, response.origin.url, await whole(response)) == (2, origin.url, b"ok")
        assert balancer.reports == [(dead, Outcome.UNREACHABLE), (origin.url, Outcome.ANSWERED)]


async def test_when_no_origin_can_be_connected_to_the_last_error_is_raised() -> None:
    closed, nameless = f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid"
    for order, error in (((closed, nameless), OriginUnresolved), ((nameless, closed), OriginRefused)):
        async with asking(*order) as client:
            with pytest.raises(error):
                await client.fetch(ask("/"))


async def test_an_origin_that_took_the_request_and_failed_is_not_followed_by_another() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()

    async with RawOrigin(serve) as broken, RawOrigin(always(OK)) as good, asking(broken.url, good.url) as client:
        with pytest.raises(OriginReset):
            await client.fetch(ask("/"))
        assert good.heads == []


async def test_the_balancer_learns_of_server_errors_and_of_bodies_that_break_off() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 10\r\n\r\nhello")

    async with RawOrigin(serve) as origin:
        balancer = Remembering([Origin(origin.url)])
        async with asking(origin.url, balancer=balancer) as client:
            with pytest.raises(OriginTruncated):
                await whole(await client.fetch(ask("/")))
        assert [outcome for _, outcome in balancer.reports] == [Outcome.SERVER_ERROR, Outcome.TRUNCATED]


async def test_closing_the_client_ends_what_is_being_read_and_waited_for() -> None:
    async def serve(connection: RawConnection) -> None:
        head = await connection.read_head()
        if b"/body" in head:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=OriginSettings(connections=2)) as client:
        response = await client.fetch(ask("/body"))
        reading = asyncio.ensure_future(response.read())
        waiting = asyncio.ensure_future(client.fetch(ask("/head")))
        while len(origin.heads) < 2:
            await asyncio.wait({waiting}, timeout=0.01)
        queued = asyncio.ensure_future(client.fetch(ask("/queued")))
        await asyncio.wait({queued}, timeout=0.02)
        await client.close()
        for task in (reading, waiting, queued):
            with pytest.raises(OriginError):
                await asyncio.wait_for(task, 2)
        with pytest.raises(OriginRefused):
            await client.fetch(ask("/"))
        await response.close()


async def test_many_at_once_each_get_their_own_answer() -> None:
    async def serve(connection: RawConnection) -> None:
        while head := await connection.read_head():
            await connection.send(answer(head.split(b" ")[1]))

    async with RawOrigin(serve) as origin, asking(origin.url, settings=OriginSettings(connections=8)) as client:

        async def one(number: int) -> None:
            assert await whole(await client.fetch(ask(f"/{number}"))) == b"/%d" % number

        await asyncio.gather(*(one(number) for number in range(200)))
        assert len(origin.connections) <= 8


async def test_times_of_a_response_are_those_of_its_own_try() -> None:
    async with RawOrigin(reads_then_closes) as origin, asking(origin.url, settings=QUICK) as client:
        await whole(await client.fetch(ask("/")))
        response = await client.fetch(ask("/"))
        assert response.tries == 2
        assert 0 <= response.response_time - response.request_time < 300
        await response.close()
