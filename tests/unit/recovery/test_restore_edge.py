"""Asking a living edge: again when it fails, bounded in what is taken, and never led elsewhere."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from edgeproxy.errors import ProofRefused
from edgeproxy.recovery import restore_edge
from edgeproxy.recovery.restore_edge import AdminSource, PublicSource, SourceFailed
from tests.support.web_app import listening


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_edge, "FIRST_WAIT", 0.001)


@asynccontextmanager
async def _server(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[str]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with listening(app) as url:
        yield url


async def test_a_failure_is_tried_again_and_an_answer_is_taken() -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=503 if len(asked) < 3 else 200, text="note")

    async with _server(answer) as url, PublicSource(url + "/") as source:
        assert await source._ask.get("/some/path", 10) == b"note"
    assert asked == ["/some/path"] * 3


@pytest.mark.parametrize("status", [302, 401, 403, 410, 500, 503])
async def test_what_does_not_pass_is_said(status: int) -> None:
    asked: list[str] = []

    def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with _server(answer) as url, PublicSource(url) as source:
        with pytest.raises(SourceFailed) as failed:
            await source._ask.get("/path", 10)
    assert failed.value.fields["status"] == status
    assert ("--admin-token" in str(failed.value)) is (status == 401)
    assert asked == ["/path"] * (restore_edge.TRIES if status >= 500 else 1), "redirects are not followed"


async def test_nobody_there_is_said() -> None:
    async with _server(lambda request: web.Response()) as url:
        pass
    async with PublicSource(url) as source:
        with pytest.raises(SourceFailed, match="cannot be reached"):
            await source.start()


async def test_more_than_there_can_be_is_not_taken() -> None:
    async with _server(lambda request: web.Response(body=bytes(1_000_000))) as url, PublicSource(url) as source:
        assert await source._ask.get("/path", 1_000_000) == bytes(1_000_000)
        with pytest.raises(SourceFailed, match="more than there can be"):
            await source._ask.get("/path", 999_999)


@pytest.mark.parametrize(
    ("text", "text_of_error"),
    [
        ("[]", "does not answer as an edge does"),
        ("{", "does not answer as an edge does"),
        ('{"vkey":"none"}', "verifier key"),
        ('{"vkey":"edge+fb166e79+AYqI49","checkpoint":""}', ""),
    ],
)
async def test_an_admin_side_that_answers_nonsense_is_refused(text: str, text_of_error: str) -> None:
    async with _server(lambda request: web.Response(text=text)) as url, AdminSource(url, "token") as source:
        with pytest.raises((SourceFailed, ProofRefused)) as failed:
            await source.start()
        assert text_of_error in str(failed.value)


@pytest.mark.parametrize("row", [{}, {"height": "x"}, {"height": 0, "block": "?", "head": None, "names": None}, None, []])
def test_rows_that_are_none_are_refused(row: object) -> None:
    with pytest.raises(SourceFailed):
        restore_edge._listed({"rows": [row]})


async def test_the_token_goes_to_the_admin_side_only() -> None:
    seen: list[str | None] = []

    def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=404)

    async with _server(answer) as url:
        async with AdminSource(url, "secret") as source:
            with pytest.raises(SourceFailed, match="not the admin side"):
                await source.start()
        async with PublicSource(url) as public:
            with pytest.raises(SourceFailed, match="publishes no ledger"):
                await public.start()
    assert seen == ["Bearer secret", None]
