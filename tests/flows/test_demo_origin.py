"""The bundled origin over real sockets: its pages, what may be kept of them, its streams, and each way of breaking."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.demo import DemoOrigin, banner, build_app
from edgeproxy.demo.banner import program_name
from edgeproxy.demo.breakage import Mode
from edgeproxy.demo.pages import PAGES, SITE
from edgeproxy.demo.streams import LARGE_BYTES, large_piece


class Demo:
    def __init__(self, origin: DemoOrigin, url: str, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.origin = origin
        self.url = url
        self.clock = clock
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=fields, allow_redirects=False) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.text()

    async def set(self, mode: str) -> int:
        async with self.session.post(f"{self.url}/break/set", data={"mode": mode}, allow_redirects=False) as response:
            return response.status


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    clock = ManualClock()
    origin = DemoOrigin(build_app(clock=clock, slow_seconds=30.0))
    url = await origin.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Demo(origin, url, clock, session)
    await origin.stop()


class Links(HTMLParser):
    """All that a page refers to, and whether its elements close."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ("href", "src", "action") and value}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
async def test_every_page_stands_on_its_own(demo: Demo, page) -> None:
    status, headers, text = await demo.get(page.path)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == page.cache_control
    assert headers.get("cdn-cache-control") == page.cdn
    assert "{{" not in text
    assert '<time id="rendered" datetime="2025-11-24T16:00:00Z">16:00:00 UTC</time>' in text
    links = Links(text)
    assert links.open == []
    for link in links.found - {"#content", "/break/set"}:
        assert link.startswith("/"), "nothing is loaded from elsewhere"
        async with demo.session.head(demo.url + link) as response:
            assert response.status == 200, link


def test_no_file_of_the_site_refers_to_another_host() -> None:
    for path in SITE.rglob("*"):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://", text), path.name


async def test_pages_differ_in_what_may_be_kept(demo: Demo) -> None:
    kept = {page.path: (page.cdn or page.cache_control) for page in PAGES}
    assert len(set(kept.values())) >= 5
    assert "stale-while-revalidate" in kept["/"]
    assert kept["/visit"] == "private, no-store"
    assert all("s-maxage" not in value and "must-revalidate" not in value for value in kept.values())


@pytest.mark.parametrize(
    "path", ["/", "/gallery", "/articles/fog-signals", "/logbook", "/static/site.css", "/static/images/night.svg"]
)
async def test_a_validator_saves_the_body(demo: Demo, path: str) -> None:
    status, headers, text = await demo.get(path)
    etag = headers["etag"]
    assert (status, bool(text)) == (200, True)
    for given in (etag, f'"other", {etag}', etag.removeprefix("W/"), "*"):
        status, again, text = await demo.get(path, If_None_Match=given)
        assert (status, text, again["etag"], again["cache-control"]) == (304, "", etag, headers["cache-control"])
    assert (await demo.get(path, If_None_Match='"other"'))[0] == 200


async def test_only_the_logbook_changes_with_the_minute(demo: Demo) -> None:
    before = {path: (await demo.get(path))[1]["etag"] for path in ("/logbook", "/gallery")}
    demo.clock.advance(60)
    after = {path: (await demo.get(path))[1]["etag"] for path in ("/logbook", "/gallery")}
    assert before["/gallery"] == after["/gallery"]
    assert before["/logbook"] != after["/logbook"]


async def test_the_visitors_book_counts_one_visitor(demo: Demo) -> None:
    _, headers, text = await demo.get("/visit")
    assert "Welcome ashore" in text
    assert headers["set-cookie"].startswith("visits=1;")
    _, headers, text = await demo.get("/visit", Cookie="visits=1")
    assert "for the 2nd time" in text
    assert headers["set-cookie"].startswith("visits=2;")
    for nonsense in ("visits=<b>", "visits=-4", "visits=99999999999"):
        assert "Welcome ashore" in (await demo.get("/visit", Cookie=nonsense))[2]


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/layout.html", "/static/pages/home.html", "/static/../origin.py", "/static/%2e%2e/origin.py"]
)
async def test_what_is_not_there_is_a_page_of_the_site(demo: Demo, path: str) -> None:
    status, headers, text = await demo.get(path)
    assert status == 404
    assert "Nothing on this rock" in text
    assert headers["cache-control"] == "max-age=5"


async def test_head_has_the_fields_and_no_body(demo: Demo) -> None:
    async with demo.session.head(f"{demo.url}/gallery") as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 1000
        assert await response.read() == b""


async def test_json_is_good_for_ten_seconds(demo: Demo) -> None:
    _, headers, text = await demo.get("/api/time")
    assert json.loads(text) == {"time": "2025-11-24T16:00:00.000Z"}
    assert headers["cache-control"].startswith("max-age=10")
    first = json.loads((await demo.get("/api/quotes"))[2])
    demo.clock.advance(10)
    second = json.loads((await demo.get("/api/quotes"))[2])
    assert len(first["quotes"]) == 3
    assert first["quotes"] != second["quotes"]


async def test_events_begin_at_once_and_go_on(demo: Demo) -> None:
    async with demo.session.get(f"{demo.url}/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        text = b""
        while text.count(b"event: beam") < 2:
            text += await asyncio.wait_for(response.content.readany(), 10)
    assert text.startswith(b"retry: 2000\n\nid: 1\nevent: beam\ndata: {")


async def test_the_web_socket_echoes_text_and_bytes(demo: Demo) -> None:
    async with demo.session.ws_connect(f"{demo.url}/ws") as socket:
        await socket.send_str("ahoy ünder")
        assert (await socket.receive_str(timeout=10)) == "ahoy ünder"
        await socket.send_bytes(b"\x00\xff" * 1000)
        assert (await socket.receive_bytes(timeout=10)) == b"\x00\xff" * 1000


async def test_the_large_file_is_the_bytes_that_can_be_computed(demo: Demo) -> None:
    async with demo.session.get(f"{demo.url}/large.bin", headers={"Range": "bytes=0-9"}) as response:
        assert response.status == 200, "it knows no ranges"
        body = await response.read()
    assert len(body) == LARGE_BYTES == 8 << 20
    assert hashlib.sha256(body).digest() == hashlib.sha256(b"".join(map(large_piece, range(128)))).digest()


async def drained(response: aiohttp.ClientResponse) -> None:
    """Read to the end of the body, within ten seconds."""
    async with asyncio.timeout(10):
        while await response.content.readany():
            pass


async def refused(demo: Demo, path: str) -> bool:
    try:
        await demo.get(path)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        return True
    return False


async def test_down_answers_nothing_but_the_switch(demo: Demo) -> None:
    assert await demo.set("down") == 303
    for path in ("/", "/api/time", "/large.bin", "/static/site.css"):
        assert await refused(demo, path)
    status, headers, text = await demo.get("/break")
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert "<style>" in text, "it needs no other file while nothing else is answered"
    assert await demo.set("ok") == 303
    assert (await demo.get("/"))[0] == 200


async def test_down_ends_streams(demo: Demo) -> None:
    async with demo.session.get(f"{demo.url}/events") as response:
        await response.content.readany()
        assert await demo.set("down") == 303
        with pytest.raises(aiohttp.ClientError):
            await drained(response)


async def test_errors_are_500_for_everything_but_the_switch(demo: Demo) -> None:
    await demo.set("500")
    for path in ("/", "/api/time", "/nothing"):
        status, headers, text = await demo.get(path)
        assert status == 500
        assert headers["cache-control"] == "no-store"
        assert "The lamp is out" in text
    assert (await demo.get("/break"))[0] == 200


async def test_slow_waits_and_mending_ends_the_wait(demo: Demo) -> None:
    await demo.set("slow")
    asked = asyncio.get_running_loop().create_task(demo.get("/gallery"))
    assert (await demo.get("/break"))[0] == 200
    done, _ = await asyncio.wait([asked], timeout=0.3)
    assert not done
    await demo.set("ok")
    assert (await asyncio.wait_for(asked, 10))[0] == 200


@pytest.mark.parametrize("path", ["/", "/static/images/chart.png", "/large.bin"])
async def test_truncated_sends_half_of_what_it_promised(demo: Demo, path: str) -> None:
    await demo.set("truncated")
    async with demo.session.get(demo.url + path) as response:
        assert response.status == 200
        promised = int(response.headers["Content-Length"])
        with pytest.raises(aiohttp.ClientPayloadError):
            await drained(response)
        got = response.content.total_bytes
    assert 0 < got < promised
    assert (await demo.get("/break"))[0] == 200


async def test_the_page_of_the_switch_shows_what_is_in_force(demo: Demo) -> None:
    for mode in Mode:
        await demo.set(mode)
        text = (await demo.get("/break"))[2]
        (now,) = re.findall(r'<form class="mode now".*?</form>', text)
        assert "In force" in now
        assert f'value="{mode}"' not in text
        assert text.count('name="mode"') == len(Mode) - 1


async def test_an_unknown_mode_changes_nothing(demo: Demo) -> None:
    for wrong in ("", "on fire"):
        assert await demo.set(wrong) == 400
    assert demo.origin.switch.mode is Mode.OK


async def test_pages_print_the_address_of_the_edge(demo: Demo) -> None:
    assert f"curl -d mode=down {demo.url}/break/set" in (await demo.get("/break"))[2]
    demo.origin.show_as("http://edge.example:8080")
    assert "curl -d mode=down http://edge.example:8080/break/set" in (await demo.get("/break"))[2]


async def test_it_stops_with_clients_connected_and_starts_on_a_given_port(demo: Demo) -> None:
    async with demo.session.get(f"{demo.url}/events") as response:
        await response.content.readany()
        await asyncio.wait_for(demo.origin.stop(), 10)
    other = DemoOrigin()
    port = int(demo.url.rpartition(":")[2])
    assert await other.start("127.0.0.1", port) == demo.url
    with pytest.raises(OSError):
        await DemoOrigin().start("127.0.0.1", port)
    await other.stop()


def test_the_banner_names_addresses_that_exist() -> None:
    text = banner("http://127.0.0.1:8080", "http://127.0.0.1:1234", "http://127.0.0.1:9180")
    paths = {page.path for page in PAGES} | {"/", "/break/set", "/large.bin", "/events"}
    assert set(re.findall(r"http://127\.0\.0\.1:8080(/[^ )\n]*)", text)) <= paths
    for address in ("http://127.0.0.1:1234/", "http://127.0.0.1:9180/"):
        assert address in text
    assert all(f"mode={mode}" in text for mode in ("down", "ok"))


def test_the_commands_of_the_banner_can_be_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make run` puts nothing on the path; and what is broken in step 3 is looked at in step 4, whether or not it was browsed."""
    text = banner("http://127.0.0.1:8080", "http://127.0.0.1:1234", "http://127.0.0.1:9180", program=".venv/bin/edgeproxy")
    assert not re.findall(r"(?<!\.venv/bin/)edgeproxy (?:explain|purge|ledger|rollback|release|preview)", text)
    assert len(set(re.findall(r"curl -s -o /dev/null -D - (http://\S+) \| grep -iE '\^\((?:age|HTTP)", text))) == 1
    assert not re.search(r"curl \S*I", text), "what is only asked for with HEAD is not stored: no hit, and nothing when it breaks"
    program = tmp_path / "bin" / "edgeproxy"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name(str(program)) == "bin/edgeproxy"
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name(str(program)) == "edgeproxy"
    assert program_name("-c") == "edgeproxy"
