"""What a page's own policy, fields and site say about our tag: the policy is amended, or the page goes as it came."""

from pathlib import Path

import pytest

from edgeproxy.exchange import injection
from edgeproxy.inject.injector import tag
from tests.support import csp_pages
from tests.support.edge import client_at
from tests.support.injected import AFTER, BEFORE, DOCUMENT, FETCHED, KEEP, KEPT, ON, PLAIN, PRIVATE, WITH, asked, counted
from tests.support.scripted import fronted, page

POLICIES = [
    ("script-src 'self'", None, "script-src 'self'"),
    (
        "script-src 'nonce-r4nd'",
        "r4nd",
        "script-src 'nonce-r4nd'; worker-src {0}/.edge/sw.js",
    ),
    ("default-src 'none'", None, "default-src 'none'; script-src {0}/.edge/ui/; worker-src {0}/.edge/sw.js"),
]


@pytest.mark.parametrize(("policy", "nonce", "expected"), POLICIES)
@pytest.mark.parametrize("cache_control", ["private", KEEP])
async def test_the_policy_is_amended_with_the_page_alone(
    tmp_path: Path, policy: str, nonce: str | None, expected: str, cache_control: str
) -> None:
    way = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control=cache_control, Content_Security_Policy=policy)
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        for _ in range(3):
            answer = await asked(it)
            assert answer.body == BEFORE + tag(nonce) + AFTER
            assert answer["Content-Security-Policy"] == expected.format(it.client.base)
        plain = await it.client.ask("/page", headers=FETCHED)
        assert (plain.body, plain["Content-Security-Policy"]) == (PLAIN, policy)
        if "none" in policy:
            changes = it.edge.metrics.site("*").csp_changes
            assert set(changes) == {"script-src-added", "worker-src-added"}


SKIPPED = [
    ({"Content_Security_Policy": "worker-src 'none'"}, PLAIN, "csp_worker_none"),
    ({"Content_Security_Policy": "sandbox"}, PLAIN, "csp_sandbox"),
    ({"Content_Disposition": "attachment"}, PLAIN, "attachment"),
    ({"Cache_Control": f"{KEEP}, no-transform"}, PLAIN, "no_transform"),
    ({}, b"<!doctype html><html amp><head></head>", "amp"),
    ({}, WITH, "present"),
    ({}, PLAIN.decode().encode("utf-16"), "charset"),
    ({}, b"<p>only a fragment</p>", "not_a_document"),
]


@pytest.mark.parametrize(("fields", "body", "reason"), SKIPPED, ids=[case[2] for case in SKIPPED])
async def test_what_is_skipped_goes_as_it_came_and_is_counted(
    tmp_path: Path, fields: dict[str, str], body: bytes, reason: str
) -> None:
    way = page(body, **{"ETag": '"a"', "Content_Type": "text/html", "Cache_Control": KEEP, **fields})
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        for _ in range(2):
            answer = await asked(it)
            assert (answer.body, answer["ETag"], answer["Content-Length"]) == (body, '"a"', str(len(body)))
            for name, value in fields.items():
                assert answer[name.replace("_", "-")] == value
        assert set(counted(it)) == {reason}
        assert counted(it)[reason] >= 3
        shown = it.edge.metrics.render()
        assert f'edgeproxy_injections_total{{site="*",outcome="{reason}"}}' in shown


async def test_every_line_of_the_table_of_policies_as_a_browser_would_get_it(tmp_path: Path) -> None:
    async with fronted(tmp_path, csp_pages.ways(), site=ON) as it:
        for row in csp_pages.ROWS:
            for _ in range(2):
                answer = await asked(it, f"/{row.name}")
                assert (b"/.edge/ui/register.js" in answer.body) is row.injected, row.name
                if not row.injected:
                    assert answer.body.decode() == csp_pages.html(row.name)
                    assert answer[csp_pages.POLICY] == ", ".join(value for _, value in row.policies)


async def test_a_304_from_the_origin_brings_the_amended_policy_to_who_has_the_amended_page(tmp_path: Path) -> None:
    policy = "script-src https://cdn.example"
    way = page(PLAIN, ETag='W/"a"', Content_Type="text/html", Cache_Control="private", Content_Security_Policy=policy)
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        first = await asked(it)
        again = await asked(it, If_None_Match=first["ETag"])
        assert (again.status, again["ETag"]) == (304, first["ETag"])
        assert again["Content-Security-Policy"] == first["Content-Security-Policy"] != policy
        other = await asked(it, If_None_Match='W/"a"')
        assert (other.status, other["ETag"], other["Content-Security-Policy"]) == (304, 'W/"a"', policy)


async def test_a_site_with_a_service_worker_of_its_own_is_left_alone_from_then_on(tmp_path: Path) -> None:
    ways = {"/page": KEPT, "/private": PRIVATE, "/sw.js": page(b"//", Content_Type="text/javascript", Cache_Control=KEEP)}
    async with fronted(tmp_path, ways, site=ON) as it:
        await it.client.recorded("/sw.js")
        await it.client.recorded("/page", headers=DOCUMENT)
        assert (await asked(it)).body == WITH
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):  # one alone is not believed
            async with client_at(address, it.client.base) as visitor:
                await visitor.ask("/sw.js", headers={"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"})
        for target in ("/page", "/private"):
            answer = await asked(it, target)
            assert (answer.body, answer["ETag"]) == (PLAIN, '"a"')
        assert it.edge.browsers.workers.is_injected("*", "other.test")


async def test_where_a_password_is_asked_for_the_pages_below_are_left_alone(tmp_path: Path) -> None:
    asks = page(b"who are you", status=401, WWW_Authenticate='Basic realm="a"', Content_Type="text/html")
    api = page(b"no", status=401, WWW_Authenticate="Bearer", Content_Type="text/html")
    async with fronted(tmp_path, {"/in/secret": asks, "/in/page": KEPT, "/page": KEPT, "/api": api}, site=ON) as it:
        await it.client.recorded("/in/page", headers=DOCUMENT)
        assert (await asked(it, "/in/page")).body == WITH
        await asked(it, "/api")
        assert (await asked(it, "/in/page")).body == WITH
        assert (await asked(it, "/in/secret")).status == 401
        assert (await asked(it, "/in/page")).body == PLAIN
        assert (await asked(it, "/page")).body == WITH
        assert counted(it)["challenged"] == 1


async def test_challenges_in_folder_after_folder_do_not_have_the_memory_walked_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injection, "BETWEEN_SIGHTS", 3_600)
    asks = page(b"who are you", status=401, WWW_Authenticate='Basic realm="a"', Content_Type="text/html")
    ways = {f"/{name}/{number}/secret": asks for name in ("in", "out") for number in range(9)}
    async with fronted(tmp_path, {**ways, "/in/secret": asks, "/out/9/page": KEPT}, site=ON) as it:
        walks = 0
        after = it.edge.injections.on_forget

        def walked() -> None:
            nonlocal walks
            walks += 1
            after()

        it.edge.injections.on_forget = walked
        await asked(it, "/in/secret")
        for target in ways:
            assert (await asked(it, target)).status == 401
        assert walks == 1
        it.edge.injections.forget()
        assert walks == 2, "an operator does not wait"
        assert (await asked(it, "/out/9/page")).body == WITH
