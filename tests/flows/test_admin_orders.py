"""Orders to the admin side: each reaches the edge as it was meant, or is refused in words."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeproxy.admin.backend import PurgeKind, PurgeOrder, ReleaseOrder, RollbackOrder
from edgeproxy.admin.client import AdminRefused
from tests.support.admin_server import Admin, running_admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with running_admin() as made:
        yield made


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
