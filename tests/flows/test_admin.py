"""The admin side over a real socket: who is let in, what the routes answer, and the files by which commands find it."""

import asyncio
import os
import re
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.backend import AdminBackend, PurgeKind, PurgeOrder, ReleaseOrder, RollbackOrder
from edgeproxy.admin.client import AdminClient, AdminRefused, NotRunning, reachable
from edgeproxy.admin.openapi import PATHS
from edgeproxy.admin.presence import Running, announce, ensure_token, find, read_token, withdraw
from edgeproxy.errors import StartError, StoreFull
from tests.support.admin_backend import StandInBackend

TOKEN = "t" * 43


class Admin:
    """A running admin server, and how to ask it."""

    def __init__(self, backend: StandInBackend, address: tuple[str, int], session: aiohttp.ClientSession) -> None:
        self.backend = backend
        self.address = address
        self._session = session

    async def ask(
        self, path: str, *, method: str = "GET", token: str | None = TOKEN, host: str | None = None, **more: object
    ) -> tuple[int, object, aiohttp.ClientResponse]:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        fields |= {} if host is None else {"Host": host}
        url = f"http://{self.address[0]}:{self.address[1]}{path}"
        async with self._session.request(method, url, headers={**fields, **more.pop("headers", {})}, **more) as answer:  # type: ignore[dict-item, arg-type]
            content = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, content, answer

    def client(self, token: str = TOKEN) -> AdminClient:
        return AdminClient(Running(f"{self.address[0]}:{self.address[1]}", os.getpid()), token, timeout=5.0)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    backend = StandInBackend()
    _: AdminBackend = backend
    server = AdminServer(backend, TOKEN, ("127.0.0.1", 0), node="edge-1", hosts=frozenset({"edge.internal"}))
    address = await server.start()
    async with aiohttp.ClientSession() as session:
        yield Admin(backend, address, session)
    await server.stop()
    await server.stop()


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


PURGES = [
    ({"kind": "url", "values": ["http://a/"]}, PurgeOrder(PurgeKind.URL, ("http://a/",))),
    ({"kind": "tag", "values": ["t", "u"], "site": "a.org"}, PurgeOrder(PurgeKind.TAG, ("t", "u"), site="a.org")),
    (
        {"kind": "prefix", "values": ["/p"], "site": "a.org", "hard": True},
        PurgeOrder(PurgeKind.PREFIX, ("/p",), site="a.org", hard=True),
    ),
    ({"kind": "site", "values": ["a.org"], "dry_run": True, "site": None}, PurgeOrder(PurgeKind.SITE, ("a.org",), dry_run=True)),
]


async def test_a_rollback_order_reaches_the_edge_as_meant(admin: Admin) -> None:
    status, answer, _ = await admin.ask("/api/v1/rollback", method="POST", json={"to": 7})
    assert (status, answer["height"]) == (200, 9)  # type: ignore[index]
    full = {"to": "2h ago", "site": "a.org", "prefix": "/p", "absent": "refuse", "dry_run": True}
    assert (await admin.ask("/api/v1/rollback", method="POST", json=full))[0] == 200
    assert (await admin.ask("/api/v1/release", method="POST"))[0] == 200
    assert (await admin.ask("/api/v1/release", method="POST", json={"site": "nowhere.example"}))[0] == 409
    assert admin.backend.asked == [
        ("rollback", RollbackOrder("7")),
        ("rollback", RollbackOrder("2h ago", "a.org", "/p", "refuse", dry_run=True)),
        ("release", ReleaseOrder()),
        ("release", ReleaseOrder("nowhere.example")),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "to must be"),
        ({"to": True}, "to must be"),
        ({"to": -1}, "to must be"),
        ({"to": 1.5}, "to must be"),
        ({"to": "9" * 65}, "to must be"),
        ({"to": 1, "site": ""}, "site must be"),
        ({"to": 1, "prefix": "p"}, "prefix must be"),
        ({"to": 1, "absent": "maybe"}, "absent must be"),
        ({"to": 1, "dry_run": 1}, "must be true or false"),
        ({"to": 1, "url": "x"}, "unknown key"),
    ],
)
async def test_a_rollback_order_that_makes_no_sense_is_refused(admin: Admin, body: dict[str, object], words: str) -> None:
    status, content, _ = await admin.ask("/api/v1/rollback", method="POST", json=body)
    assert status == 400
    assert words in content["error"]  # type: ignore[index]
    assert admin.backend.asked == []


@pytest.mark.parametrize(("body", "order"), PURGES, ids=[str(body["kind"]) for body, _ in PURGES])
async def test_a_purge_order_reaches_the_edge_as_meant(admin: Admin, body: dict[str, object], order: PurgeOrder) -> None:
    answer = await asyncio.to_thread(admin.client().purge, body)
    assert answer["dry_run"] is order.dry_run
    assert admin.backend.asked == [("purge", order)]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "kind must be one of"),
        ({"kind": "all", "values": ["x"]}, "kind must be one of"),
        ({"kind": ["url"], "values": ["x"]}, "kind must be one of"),
        ({"kind": "url"}, "values must be a list"),
        ({"kind": "url", "values": []}, "values must be a list"),
        ({"kind": "url", "values": "http://a/"}, "values must be a list"),
        ({"kind": "url", "values": [5]}, "values must be a list"),
        ({"kind": "url", "values": ["http://x/"] * 1001}, "values are too many"),
        ({"kind": "url", "values": ["/x"]}, "must be absolute"),
        ({"kind": "prefix", "values": ["/x", "x"]}, "must be absolute"),
        ({"kind": "url", "values": ["http://x/"], "site": "a.org"}, "site goes with tags"),
        ({"kind": "tag", "values": ["x"], "site": 5}, "site goes with tags"),
        ({"kind": "url", "values": ["http://x/"], "hard": 1}, "must be true or false"),
        ({"kind": "url", "values": ["x"], "soft": True}, "unknown key"),
    ],
)
async def test_a_purge_order_that_is_not_understood_is_refused(admin: Admin, body: dict[str, object], text: str) -> None:
    with pytest.raises(AdminRefused, match=text) as caught:
        await asyncio.to_thread(admin.client().purge, body)
    assert caught.value.status == 400
    assert admin.backend.asked == []


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"kind=url", "application/x-www-form-urlencoded", 415),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b" " * 300_000, "application/json", 413),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(admin: Admin, data: bytes, kind: str, status: int) -> None:
    found, content, _ = await admin.ask("/api/v1/purge", method="POST", data=data, headers={"Content-Type": kind})
    assert found == status
    assert isinstance(content, dict)
    assert "error" in content


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


async def test_a_refused_reload_says_why_and_the_client_hands_it_on(admin: Admin) -> None:
    assert await asyncio.to_thread(admin.client().reload) == {"applied": True, "faults": [], "restart": []}
    fault = "edge.node: 5 is not a node name"
    admin.backend.faults = [fault]
    assert await asyncio.to_thread(admin.client().reload) == {"applied": False, "faults": [fault], "restart": []}


async def test_certificates_are_listed_and_renewed(admin: Admin) -> None:
    status, content, _ = await admin.ask("/api/v1/certificates")
    assert (status, content) == (200, {"certificates": await admin.backend.certificates()})
    client = admin.client()
    assert await asyncio.to_thread(client.certificates) == await admin.backend.certificates()
    assert await asyncio.to_thread(client.renew, "example.org") == {"name": "example.org"}
    status, content, _ = await admin.ask("/api/v1/certificates/renew", method="POST", json={"name": "other.org"})
    assert (status, content) == (400, {"error": "no certificate is kept for this name", "name": "other.org"})
    assert admin.backend.asked == [("renew", "example.org"), ("renew", "other.org")]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 5}, {"name": "example.org", "force": True}])
async def test_what_to_renew_must_be_a_name(admin: Admin, body: dict[str, object]) -> None:
    status, content, _ = await admin.ask("/api/v1/certificates/renew", method="POST", json=body)
    assert (status, content) == (400, {"error": 'body must be {"name": a host name}'})
    assert admin.backend.asked == []


async def test_a_port_in_use_is_a_start_error(admin: Admin) -> None:
    with pytest.raises(StartError, match="address in use") as caught:
        await AdminServer(StandInBackend(), TOKEN, admin.address).start()
    assert str(admin.address[1]) in str(caught.value)


# --- when nobody answers as expected


async def test_the_client_says_plainly_that_no_edge_runs(admin: Admin, tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no edge is running with data folder"):
        AdminClient.of_folder(tmp_path)
    with pytest.raises(NotRunning, match="is another edge"):
        await asyncio.to_thread(admin.client(token="x" * 43).status)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    announce(tmp_path, Running(f"127.0.0.1:{port}", 999_999))
    with pytest.raises(NotRunning, match=r"admin-token is missing .* it makes one at its next start"):
        AdminClient.of_folder(tmp_path)
    ensure_token(tmp_path)
    with pytest.raises(NotRunning, match="it is not running, or it was killed"):
        await asyncio.to_thread(AdminClient.of_folder(tmp_path).status)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"220 mail ready\r\n", b""])
async def test_the_client_knows_that_something_else_took_the_port(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(NotRunning, match=r"something else|no edge answers"):
            await asyncio.to_thread(AdminClient(Running(f"{host}:{port}", 1), TOKEN, timeout=5.0).status)
    finally:
        server.close()
        await server.wait_closed()


async def test_the_client_does_not_wait_for_ever() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        client = AdminClient(Running(f"{host}:{port}", 1), TOKEN, timeout=0.2)
        with pytest.raises(NotRunning, match=r"did not answer within 0\.2 seconds$"):
            await asyncio.to_thread(client.status)
        with pytest.raises(NotRunning, match="may still be carried out: ask `edgeproxy status` before"):
            await asyncio.to_thread(client.release, {})
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("host", "reached"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")],
)
def test_who_listens_everywhere_is_reached_on_loopback(host: str, reached: str) -> None:
    assert reachable(host) == reached


# --- the files in the data folder


def test_the_token_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = ensure_token(tmp_path)
    assert len(token) >= 43
    assert ensure_token(tmp_path) == token == read_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_a_token_left_open_to_others_is_closed_again(tmp_path: Path) -> None:
    ensure_token(tmp_path)
    (tmp_path / "admin-token").chmod(0o644)
    ensure_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_token_that_guards_nothing_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin-token").write_bytes(content)
    with pytest.raises(StartError, match="admin token"):
        ensure_token(tmp_path)


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="admin token cannot be made"):
        ensure_token(tmp_path / "none")
    with pytest.raises(StartError, match="data folder is not writable"):
        announce(tmp_path / "none", Running("127.0.0.1:1", 1))


def test_an_edge_withdraws_only_its_own_announcement(tmp_path: Path) -> None:
    announce(tmp_path, Running("127.0.0.1:1", 10))
    announce(tmp_path, Running("127.0.0.1:2", 11))
    withdraw(tmp_path, 10)
    assert find(tmp_path) == Running("127.0.0.1:2", 11)
    withdraw(tmp_path, 11)
    assert find(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"address": "a:1", "pid": "x"}', b"\xff"])
def test_a_damaged_announcement_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.json").write_bytes(content)
    assert find(tmp_path) is None


# --- disaster


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ({}, "url must be absolute"),
        ({"url": "/page"}, "url must be absolute"),
        ({"url": 7}, "url must be absolute"),
        ({"url": "http://a/", "everywhere": 1}, "must be true or false"),
        ({"url": "http://a/", "all": True}, "unknown key"),
        ([], "must be a JSON object"),
    ],
)
async def test_an_order_to_erase_that_is_not_understood_is_refused(admin: Admin, order: object, text: str) -> None:
    status, answer, _ = await admin.ask("/api/v1/ledger/erase", method="POST", json=order)
    assert status == 400
    assert text in answer["error"]  # type: ignore[index]
    assert admin.backend.asked == []


async def test_erasing_and_what_another_node_needs_go_through_to_the_edge(admin: Admin) -> None:
    order = {"url": "http://a/page", "everywhere": True}
    assert (await admin.ask("/api/v1/ledger/erase", method="POST", json=order))[1]["heights"] == [9]  # type: ignore[index]
    assert (await admin.ask("/api/v1/ledger/rows?from=512"))[0] == 200
    assert admin.backend.asked == [("erase", "http://a/page", True, False), ("rows", 512, 512)]
    for wrong in ("-1", "x", "9" * 16, "٣"):
        assert (await admin.ask(f"/api/v1/ledger/rows?from={wrong}"))[0] == 400
    assert (await admin.ask(f"/api/v1/ledger/bodies/{'00' * 32}"))[1] == "body"
    assert (await admin.ask(f"/api/v1/ledger/bodies/{'11' * 32}"))[0] == 404
    assert (await admin.ask("/api/v1/ledger/bodies/11"))[0] == 404
    form = await admin.ask("/api/v1/ledger/erase", method="POST", data=b"url=http://a/")
    assert form[0] == 415
    for path in ("/api/v1/ledger/rows", f"/api/v1/ledger/bodies/{'00' * 32}"):
        assert (await admin.ask(path, token=None))[0] == 401
async def test_orders_to_service_workers_reach_the_edge_or_are_refused(admin: Admin) -> None:
    client = admin.client()
    assert (await asyncio.to_thread(client.order_workers, "kill", "example.org"))["serial"] == 7
    assert (await asyncio.to_thread(client.service_workers))["sites"][0]["mode"] == "on"
    assert admin.backend.asked == [("order", "example.org", "kill")]
    for body in (b"{}", b'{"mode":5}', b'{"mode":"on","site":5}', b'{"mode":"on","sites":null}', b'{"mode":"never"}'):
        answer = await admin.ask("/api/v1/service-worker", method="POST", data=body, headers={"Content-Type": "application/json"})
        assert answer[0] == 400
