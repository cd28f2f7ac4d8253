"""The admin side over a real socket: who is let in, and what it answers to whom."""

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.client import AdminRefused
from edgeproxy.admin.openapi import PATHS
from edgeproxy.errors import StoreFull
from tests.support.admin_backend import StandInBackend
from tests.support.admin_server import TOKEN, Admin, running_admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with running_admin() as made:
        yield made


# --- who is let in

CLOSED = [
    (path, verb.upper())
    for path, verbs in PATHS.items()
    for verb, operation in verbs.items()
    if operation.get("security") != []
]  # fmt: skip
OPEN = [path for path in PATHS if (path, "GET") not in CLOSED and (path, "POST") not in CLOSED]


@pytest.mark.parametrize(("path", "method"), CLOSED)
@pytest.mark.parametrize(
    "fields", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN}]
)
async def test_the_api_is_closed_without_the_token(admin: Admin, path: str, method: str, fields: dict[str, str]) -> None:
    status, content, answer = await admin.ask(path.replace("{height}", "3"), method=method, token=None, headers=fields)
    assert (status, content) == (401, {"error": "missing or wrong bearer token; it is in DATA/admin-token"})
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert admin.backend.asked == []


@pytest.mark.parametrize("path", OPEN)
async def test_what_shows_no_secret_needs_no_token(admin: Admin, path: str) -> None:
    status, _, answer = await admin.ask(path, token=None)
    assert status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "edgeproxy"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "LOCALHOST:9180", "127.0.0.1", "127.8.8.8:5", "[::1]", "[::1]:9180", "edge.internal:1"]
)
async def test_loopback_names_and_configured_names_are_ours(admin: Admin, host: str) -> None:
    assert (await admin.ask("/healthz", host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:9180",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "[2001:db8::1]:9180",
        "edge.internal.evil",
    ],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/status"])
async def test_a_rebound_name_gets_nothing_not_even_with_the_token(admin: Admin, host: str, path: str) -> None:
    status, content, _ = await admin.ask(path, host=host)
    assert status == 421
    assert isinstance(content, dict)
    assert "loopback" in content["error"]


async def test_a_public_admin_side_answers_to_addresses_but_not_to_names() -> None:
    server = AdminServer(StandInBackend(), TOKEN, ("0.0.0.0", 0))
    _, port = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            for host, status in (("192.0.2.1:9180", 200), ("evil.example", 421)):
                async with session.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": host}) as answer:
                    assert answer.status == status
    finally:
        await server.stop()


# --- what the routes answer


async def test_health_and_readiness_are_said_by_status_and_by_words(admin: Admin) -> None:
    assert (await admin.ask("/healthz", token=None))[:2] == (200, {"status": "ok", "checks": {"ledger": "ok", "store": "ok"}})
    assert (await admin.ask("/readyz", token=None))[:2] == (200, {"status": "ready", "checks": {"listening": "127.0.0.1:8080"}})
    admin.backend.health = (False, {"store": "disk full"})
    admin.backend.readiness = (False, {"draining": "yes"})
    assert (await admin.ask("/healthz", token=None))[:2] == (503, {"status": "failing", "checks": {"store": "disk full"}})
    assert (await admin.ask("/readyz", token=None))[:2] == (503, {"status": "not ready", "checks": {"draining": "yes"}})


async def test_metrics_are_prometheus_text(admin: Admin) -> None:
    _, content, answer = await admin.ask("/metrics", token=None)
    assert content == "edgeproxy_requests_total 5\n"
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_page_loads_nothing_from_elsewhere_and_escapes_what_it_shows(admin: Admin) -> None:
    admin.backend.health = (False, {"<b>store": "<script>alert(1)</script>"})
    _, page, answer = await admin.ask("/", token=None)
    assert isinstance(page, str)
    assert "Not healthy" in page
    assert "<script" not in page
    assert "<b>store" not in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"]
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert TOKEN not in page


async def test_the_description_names_the_routes_that_there_are(admin: Admin) -> None:
    _, content, _ = await admin.ask("/api/v1/openapi.json", token=None)
    assert isinstance(content, dict)
    assert content["openapi"].startswith("3.1")
    server = AdminServer(StandInBackend(), TOKEN, ("127.0.0.1", 0))
    served = {
        (route.resource.canonical, route.method.lower())
        for route in server._application().router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert served == {(path, verb) for path, verbs in content["paths"].items() for verb in verbs}


async def test_the_client_asks_what_the_backend_answers(admin: Admin) -> None:
    client = admin.client()
    assert (await asyncio.to_thread(client.status))["node"] == "edge-1"
    assert (await asyncio.to_thread(client.ledger_head))["size"] == 10
    shown = await asyncio.to_thread(client.ledger_show, 3)
    assert shown is not None
    assert list(shown["block"]) == ["v", "height", "time", "op", "chunks"]
    assert await asyncio.to_thread(client.ledger_show, 4) is None
    assert len((await asyncio.to_thread(client.ledger_history, "http://example.org/page", 5))["versions"]) == 1
    assert admin.backend.asked[-1] == ("history", "http://example.org/page", 5)


async def test_explain_carries_url_and_request_fields_unchanged(admin: Admin) -> None:
    url = "http://example.org/a b?x=1&y=%2F#ü"
    await asyncio.to_thread(admin.client().explain, url, [("Accept-Language", "de, en;q=0.5"), ("X-Odd", "a: b&c")])
    name, asked, fields = admin.backend.asked[-1]
    assert (name, asked) == ("explain", url)
    assert fields.lines == (("Accept-Language", "de, en;q=0.5"), ("X-Odd", "a: b&c"))


async def test_an_error_of_the_edge_is_json_with_its_status(admin: Admin) -> None:
    with pytest.raises(AdminRefused, match="no site has this host") as caught:
        await asyncio.to_thread(admin.client().explain, "http://nowhere/")
    assert (caught.value.status, caught.value.answer["host"]) == (404, "nowhere")
    admin.backend.failure = StoreFull("no space left", folder="data")
    assert (await admin.ask("/api/v1/status"))[:2] == (500, {"error": "no space left", "folder": "data"})


async def test_what_the_edge_did_not_foresee_is_an_answer_without_detail(admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    admin.backend.failure = KeyError("inner secret")
    status, content, _ = await admin.ask("/api/v1/status")
    assert (status, content) == (500, {"error": "internal error; the edge's log says more"})
    assert "inner secret" in caplog.text


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/api/v1/explain", "GET", 400),
        ("/api/v1/explain?url=/relative", "GET", 400),
        ("/api/v1/explain?url=http://a/&field=nocolon", "GET", 400),
        ("/api/v1/explain?url=http://a/&field=a:b%0d%0ac:d", "GET", 400),
        ("/api/v1/ledger/history?url=http://a/&limit=0", "GET", 400),
        ("/api/v1/ledger/history?url=http://a/&limit=99999999", "GET", 400),
        ("/api/v1/ledger/history?url=http://a/&limit=x", "GET", 400),
        ("/api/v1/ledger/blocks/4", "GET", 404),
        ("/api/v1/ledger/blocks/-1", "GET", 404),
        ("/api/v1/ledger/blocks/9999999999999999999999", "GET", 404),
        ("/api/v1/nothing", "GET", 404),
        ("/api/v1/status", "DELETE", 405),
        ("/api/v1/reload", "GET", 405),
    ],
)
async def test_what_is_not_understood_is_refused_in_json(admin: Admin, path: str, method: str, status: int) -> None:
    found, content, _ = await admin.ask(path, method=method)
    assert found == status
    assert isinstance(content, dict)
    assert content["error"]
    assert admin.backend.asked == []
