"""The origin dies, stalls, fails or lies: whatever may be served stale goes on being served, verified, and says so."""

import asyncio
import base64
import email.utils
import gzip
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import brotli
import pytest

from tests.support.edge import Answer, Client, EdgeProcess, running_edge, until, write_config
from tests.support.origin_process import OriginProcess
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.raw_origin import answer as raw_answer
from tests.support.site import content, running_site

PATIENCE = 20.0
"""Seconds that any one request may take."""

CLIENTS = 20
ROUNDS = 5


@dataclass(frozen=True)
class Page:
    """One URL of the origin. `size` in bytes; `fresh`: still fresh when the origin is gone, so that nobody asks it."""

    target: str
    size: int
    fresh: bool = False

    @classmethod
    def of(cls, name: str, query: str, size: int = 100, *, fresh: bool = False) -> "Page":
        return cls(f"/{name}?{query}&size={size}", size, fresh)

    def body(self, version: str) -> bytes:
        return content(self.target, version, self.size)


STALE = [
    *(Page.of(f"no-validator-{number}", "cc=max-age=0", 200 + number) for number in range(8)),
    *(Page.of(f"with-etag-{number}", "cc=max-age=0&etag=e", 9000 + number) for number in range(8)),
    *(Page.of(f"heuristic-{number}", "cc=public,max-age=0&etag=h&content-type=text/html", 3000) for number in range(4)),
    *(Page.of(f"stale-if-error-{number}", "cc=max-age=0,stale-if-error=600") for number in range(3)),
    Page.of("chunked-1", "cc=max-age=0", 300_000),
    Page.of("chunked-2", "cc=max-age=0&etag=c", 700_001),
    Page.of("varies", "cc=max-age=0&vary=accept-language"),
]
FRESH = [Page.of(f"fresh-{number}", "max-age=600", 500, fresh=True) for number in range(4)]
FORBIDDEN = [
    Page.of("must", "cc=max-age=0,must-revalidate&etag=m"),
    Page.of("proxy", "cc=max-age=0,proxy-revalidate&etag=p"),
    Page.of("shared", "cc=s-maxage=0&etag=s"),
    Page.of("no-cache", "cc=no-cache&etag=n"),
]


def plain(answer: Answer) -> bytes:
    """The body without its content coding."""
    coding = answer["Content-Encoding"]
    if not coding:
        return answer.body
    return {"br": brotli.decompress, "gzip": gzip.decompress}[coding](answer.body)


def assert_verified(page: Page, answer: Answer, version: str = "1") -> None:
    """The right bytes, with the digest and the block that prove them, and the age that their date gives."""
    assert answer.status == 200, (page.target, answer.status, answer.body[:200])
    assert plain(answer) == page.body(version), (page.target, answer.body[:100])
    digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    # A copy that came in the last moment before the failure is proved by its digest alone until its block is committed.
    assert answer["Edge-Block"].isdigit() or int(answer["Age"]) <= 2
    born = email.utils.parsedate_to_datetime(answer["Date"]).timestamp()
    # Whole seconds on both sides of a moment between the two.
    assert answer.asked - 2 <= born + int(answer["Age"]) <= answer.received + 2, (answer.asked, answer["Date"], answer["Age"])


def assert_stands_in(page: Page, answer: Answer, detail: str, error: str, version: str = "1") -> None:
    """The last good copy, which says that it is one and why."""
    assert_verified(page, answer, version)
    cache_status = answer["Cache-Status"]
    assert cache_status.startswith("edgeproxy;fwd=stale"), cache_status
    assert cache_status.endswith(f";detail={detail}"), cache_status
    assert answer["Proxy-Status"] == f"edgeproxy;error={error}"


async def kept(client: Client, page: Page) -> Answer:
    """Have `page` stored, and wait for its block; the origin is asked once."""
    await client.ask(page.target)

    async def out_of_its_block() -> Answer | None:
        answer = await client.ask(page.target, headers={"Cache-Control": "only-if-cached, max-stale=600"})
        return answer if "Edge-Block" in answer.headers else None  # type: ignore[operator]

    return await until(out_of_its_block)


@dataclass
class Load:
    """Clients that go round the pages, and when the origin is to be killed among their requests."""

    client: Client
    kill: Callable[[], None]
    kill_after: int
    killed: bool = False
    asked: int = 0
    after: list[tuple[Page, Answer]] = field(default_factory=list)

    async def run_client(self, number: int) -> None:
        pages = STALE + FRESH
        pages = pages[number:] + pages[:number]
        for _ in range(ROUNDS):
            for page in pages:
                began_after = self.killed
                async with asyncio.timeout(PATIENCE):
                    answer = await self.client.ask(page.target)
                # Before, in the moment of the kill, and after: never anything but the right bytes.
                assert answer.status == 200, (page.target, answer.status)
                assert plain(answer) == page.body("1")
                if began_after:
                    self.after.append((page, answer))
                self.asked += 1
                if self.asked == self.kill_after:
                    self.kill()
                    self.killed = True


@pytest.fixture
def origin() -> Iterator[OriginProcess]:
    with OriginProcess() as process:
        yield process


@asynccontextmanager
async def edge_process(config: Path) -> AsyncIterator[tuple[EdgeProcess, Client]]:
    edge = EdgeProcess(config)
    base = await asyncio.to_thread(edge.start)
    try:
        async with aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as session:
            yield edge, Client(base, session)
    finally:
        status = await asyncio.to_thread(edge.stop)
        assert status == 0, edge.log.read_text()
        assert "Traceback" not in edge.log.read_text()


@pytest.mark.timeout(60)
async def test_every_cached_page_is_answered_when_the_origin_is_killed_under_load(tmp_path: Path, origin: OriginProcess) -> None:
    async with edge_process(write_config(tmp_path, origin.url)) as (_, client):
        for page in FORBIDDEN:
            await client.ask(page.target)
        for page in STALE + FRESH:
            await kept(client, page)
        load = Load(client, origin.kill, kill_after=CLIENTS * len(STALE + FRESH) * 2)
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(load.run_client(number))

        assert len(load.after) > CLIENTS * len(STALE + FRESH)
        assert {page.target for page, _ in load.after} == {page.target for page in STALE + FRESH}
        for page, answer in load.after:
            if page.fresh:
                assert_verified(page, answer)
                assert answer["Cache-Status"].startswith("edgeproxy;hit")
            else:
                detail = "stale-if-error" if "stale-if-error" in page.target else "stale-origin-failed"
                assert_stands_in(page, answer, detail, "connection_refused")
        for page in STALE + FRESH:
            assert (await client.ask(page.target))["Edge-Block"].isdigit(), page.target
        for page in FORBIDDEN:
            await assert_refused(client, page)
        never_seen = await client.ask("/never-seen")
        assert never_seen.status in (502, 503)
        assert never_seen["Proxy-Status"] == "edgeproxy;error=connection_refused"

        origin.start("2")
        for page in STALE + FORBIDDEN:
            back = await client.ask(page.target)
            assert (back.status, back.body) == (200, page.body("2")), page.target
            assert "stale-origin" not in back["Cache-Status"]


async def assert_refused(client: Client, page: Page) -> None:
    """RFC 9111 section 5.2.2.2: without its origin a page that must be validated is a 504, with nothing of the copy in it."""
    async with asyncio.timeout(PATIENCE):
        refused = await client.ask(page.target)
    assert refused.status == 504, page.target
    assert page.body("1") not in refused.body
    assert refused["Content-Type"].startswith("text/html")
    assert refused["Proxy-Status"] == "edgeproxy;error=connection_refused"
    assert refused["Cache-Status"].endswith(";detail=stale-forbidden")
    assert "Edge-Block" not in refused.headers  # type: ignore[operator]


@pytest.mark.parametrize("page", FORBIDDEN, ids=lambda page: page.target.split("?")[0])
async def test_override_serves_what_its_origin_forbids_to_serve_stale(
    tmp_path: Path, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    site_tables = "[site.recovery]\noverride = true"
    async with running_site() as site, running_edge(tmp_path, site.url, site=site_tables) as (edge, client):
        await client.ask(page.target)
        await edge.sequencer.flush()
        site.failing = 503
        answer = await client.ask(page.target)
    assert_stands_in(page, answer, "stale-override", "destination_unavailable")
    assert "recovery.override" in caplog.text


ANYTHING = Page.of("page", "cc=max-age=0&etag=a", 2000)


@pytest.mark.parametrize("page", [ANYTHING, Page.of("large", "cc=max-age=0", 400_000)], ids=["small", "chunked"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_error_is_replaced_by_the_copy(tmp_path: Path, page: Page, status: int) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url) as (_, client):
        await kept(client, page)
        site.failing = status
        answer = await client.ask(page.target)
        assert_stands_in(page, answer, "stale-origin-failed", "destination_unavailable")
        assert f";fwd-status={status};" in answer["Cache-Status"]
        site.failing, site.version = None, "2"
        assert (await client.ask(page.target)).body == page.body("2")


async def test_server_error_without_a_copy_is_passed_on(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url) as (_, client):
        site.failing = 503
        answer = await client.ask(ANYTHING.target)
    assert (answer.status, answer.body) == (503, b"origin is in trouble")


async def test_origin_slower_than_stale_after_is_replaced_by_the_copy(tmp_path: Path) -> None:
    site_tables = '[site.recovery]\nstale_after = "150ms"'
    async with running_site() as site, running_edge(tmp_path, site.url, site=site_tables) as (_, client):
        await kept(client, ANYTHING)
        site.gate, site.version = asyncio.Event(), "2"
        began = time.monotonic()
        answers = await asyncio.gather(*(client.ask(ANYTHING.target) for _ in range(10)))
        assert 0.15 <= time.monotonic() - began < PATIENCE
        for answer in answers:
            assert_stands_in(ANYTHING, answer, "stale-origin-slow", "http_response_timeout")
        assert len(site.seen) < 8, "requests that wait for the same page share one question"
        # The answer that came too late for them is not wasted: it is stored, and nobody waits for the next one.
        site.gate.set()

        async def has_changed() -> Answer | None:
            explained = await client.ask(ANYTHING.target, headers={"Cache-Control": "only-if-cached, max-stale=60"})
            return explained if explained.body == ANYTHING.body("2") else None

        await until(has_changed)


async def test_head_request_is_answered_from_the_copy_by_a_dead_and_by_a_slow_origin(tmp_path: Path) -> None:
    site_tables = '[site.recovery]\nstale_after = "150ms"'
    async with running_site() as site, running_edge(tmp_path, site.url, site=site_tables) as (_, client):
        whole = await kept(client, ANYTHING)
        site.failing = 503
        dead = await client.ask(ANYTHING.target, method="HEAD")
        site.failing, site.gate = None, asyncio.Event()
        async with asyncio.timeout(PATIENCE):
            slow = await client.ask(ANYTHING.target, method="HEAD")
        site.gate.set()
    for answer, detail in ((dead, "stale-origin-failed"), (slow, "stale-origin-slow")):
        assert (answer.status, answer.body) == (200, b"")
        assert answer["Content-Length"] == str(ANYTHING.size)
        assert answer["Edge-Block"] == whole["Edge-Block"]
        assert answer["Cache-Status"].endswith(f";detail={detail}")


async def test_ranges_and_conditions_are_answered_from_the_copy(tmp_path: Path) -> None:
    page = Page.of("large", "cc=max-age=0&etag=a", 5_000_000)
    async with running_site() as site, running_edge(tmp_path, site.url) as (_, client):
        whole = await kept(client, page)
        site.failing = 503
        near = await client.ask(page.target, headers={"Range": "bytes=70000-199999"})
        far = await client.ask(page.target, headers={"Range": "bytes=-10"})
        same = await client.ask(page.target, headers={"If-None-Match": whole["ETag"]})
    assert (near.status, near.body) == (206, page.body("1")[70_000:200_000])
    assert (far.status, far.body) == (206, page.body("1")[-10:])
    assert (same.status, same.body) == (304, b"")
    assert {answer["Edge-Block"] for answer in (near, far, same)} == {whole["Edge-Block"]}


# --- an origin that breaks off: bytes written by hand ---

Break = Callable[[RawConnection], Awaitable[None]]
GOOD = b"the good copy " * 200


async def _truncated(connection: RawConnection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nContent-Length: 5000\r\n\r\n" + b"x" * 4999)


async def _truncated_chunks(connection: RawConnection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n")


async def _bad_chunk(connection: RawConnection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwrongZ\r\n")


async def _reset_at_once(connection: RawConnection) -> None:
    connection.reset()


async def _reset_in_the_body(connection: RawConnection) -> None:
    await _truncated(connection)
    connection.reset()


async def _half_a_head(connection: RawConnection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nCache-Con")


async def _garbage(connection: RawConnection) -> None:
    await connection.send(b"\x00\x01\x02 this is no HTTP\r\n\r\n")


async def _two_lengths(connection: RawConnection) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwrong!")


@dataclass
class Breaking:
    """Answers well until `how` is set."""

    how: Break | None = None
    body: bytes = GOOD

    async def __call__(self, connection: RawConnection) -> None:
        while await connection.read_head():
            if self.how is not None:
                await self.how(connection)
                return
            await connection.send(raw_answer(self.body, b"Cache-Control: max-age=0"))


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (_truncated, "http_response_incomplete"),
        (_truncated_chunks, "http_response_incomplete"),
        (_bad_chunk, "http_protocol_error"),
        (_reset_at_once, "connection_terminated"),
        (_reset_in_the_body, "http_response_incomplete"),
        (_half_a_head, "connection_terminated"),
        (_garbage, "http_protocol_error"),
        (_two_lengths, "http_protocol_error"),
    ],
)
async def test_answer_that_breaks_off_is_replaced_by_the_copy_and_never_replaces_it(
    tmp_path: Path, how: Break, error: str
) -> None:
    breaking = Breaking()
    async with RawOrigin(breaking) as origin, running_edge(tmp_path, origin.url) as (edge, client):
        first = await kept(client, Page("/page", len(GOOD)))
        breaking.how = how
        size = edge.sequencer.head().size
        for _ in range(3):
            async with asyncio.timeout(PATIENCE):
                answer = await client.ask("/page")
            assert (answer.status, answer.body, answer["Edge-Block"]) == (200, GOOD, first["Edge-Block"])
            assert answer["Cache-Status"].startswith("edgeproxy;fwd=stale")
            assert answer["Cache-Status"].endswith("detail=stale-origin-failed")
            assert answer["Proxy-Status"] == f"edgeproxy;error={error}"
        await edge.sequencer.flush()
        assert edge.sequencer.head().size == size, "nothing that broke off may become a block"
        breaking.how, breaking.body = None, b"mended"
        assert (await client.ask("/page")).body == b"mended"


async def test_large_answer_that_breaks_off_is_seen_to_be_broken_and_does_not_replace_the_copy(tmp_path: Path) -> None:
    """Above `hold_bytes` it was streamed: the client must not take a part for the whole, and the copy stays."""
    breaking = Breaking()

    async def large_and_truncated(connection: RawConnection) -> None:
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nContent-Length: 9000000\r\n\r\n"
        await connection.send(head + b"x" * 2_000_000)

    async with RawOrigin(breaking) as origin, running_edge(tmp_path, origin.url) as (_, client):
        await kept(client, Page("/page", len(GOOD)))
        breaking.how = large_and_truncated
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.ask("/page")
        breaking.how = _reset_at_once
        assert (await client.ask("/page")).body == GOOD


async def test_body_that_trickles_longer_than_stale_after_is_replaced_by_the_copy(tmp_path: Path) -> None:
    breaking = Breaking()
    done = asyncio.Event()

    async def trickle(connection: RawConnection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nContent-Length: 10\r\n\r\nslow")
        await done.wait()
        await connection.send(b" start")

    site_tables = '[site.recovery]\nstale_after = "150ms"'
    async with RawOrigin(breaking) as origin, running_edge(tmp_path, origin.url, site=site_tables) as (_, client):
        await kept(client, Page("/page", len(GOOD)))
        breaking.how = trickle
        async with asyncio.timeout(PATIENCE):
            answer = await client.ask("/page")
        assert (answer.status, answer.body) == (200, GOOD)
        assert answer["Cache-Status"].endswith("detail=stale-origin-slow")
        assert answer["Proxy-Status"] == "edgeproxy;error=http_response_timeout"
        done.set()


async def test_failure_is_counted_once_whether_the_copy_stood_in_or_not(tmp_path: Path) -> None:
    breaking = Breaking()
    async with RawOrigin(breaking) as origin, running_edge(tmp_path, origin.url) as (edge, client):
        await kept(client, Page("/page", len(GOOD)))
        breaking.how = _garbage
        await client.ask("/page")
        await client.ask("/never-seen")
        counted = edge.metrics.render()
    (line,) = [line for line in counted.splitlines() if "origin_errors" in line and "http_protocol_error" in line]
    assert line.endswith(" 2")
