"""The blocks of a log over HTTP: whole, in order, within bounds; whatever else comes is no answer yet."""

import aiohttp
import pytest
from aiohttp import web

from edgeproxy.validator import published as module
from edgeproxy.validator.published import Published, Unpublished
from tests.support.logs import Log, published
from tests.support.web_app import listening


async def blocks(url: str, start: int, end: int) -> list[bytes]:
    async with aiohttp.ClientSession() as session:
        source = Published(session, url)
        return [raw async for some in source.blocks(start, end) for raw in some]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 256), (0, 257), (255, 257), (300, 301), (1, 2000), (512, 768)])
@pytest.mark.parametrize("whole_only", [False, True])
async def test_any_span_comes_whole_and_in_order(start: int, end: int, whole_only: bool) -> None:
    log = Log()
    log.grow(2048 + 255)
    async with published(log, whole_only=whole_only) as url:
        assert await blocks(url, start, end) == log.raws[start:end]


async def test_a_size_that_nobody_can_have_is_found_out_at_the_first_block_that_is_missing() -> None:
    log = Log()
    log.grow(300)
    async with published(log) as url:
        with pytest.raises(Unpublished, match="not publish"):
            await blocks(url, 0, 2**62)


async def test_what_is_not_there_is_not_there_yet() -> None:
    log = Log()
    log.grow(10)
    async with published(log) as url:
        with pytest.raises(Unpublished, match="not publish"):
            await blocks(url, 0, 12)
    with pytest.raises(Unpublished, match="reached"):
        await blocks("http://127.0.0.1:1/log", 0, 1)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (web.Response(status=500), "error"),
        (web.Response(status=302, headers={"Location": "/"}), "error"),
        (web.Response(body=b"\0\7short"), "no entry bundle"),
        (web.Response(body=bytes(5000)), "more than"),
    ],
)
async def test_another_answer_is_none(answer: web.Response, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUNDLE", 4096)

    async def answering(request: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/{path:.*}", answering)
    async with listening(app) as url:
        with pytest.raises(Unpublished, match=what):
            await blocks(url, 0, 1)
