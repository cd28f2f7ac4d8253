"""What a client asks is what the origin is asked: methods, fields that name the hops, listeners, Unix sockets."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, web

from edgeproxy.app import running
from edgeproxy.config import load
from tests.support.edge import Client, connected, running_edge, write_config
from tests.support.raw_origin import RawConnection, RawOrigin, always
from tests.support.raw_origin import answer as raw_answer
from tests.support.scripted import PATIENCE, fronted, page, scripted

FORWARDING = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via")


async def curl(*arguments: str, data: bytes | None = None) -> str:
    """What curl, which nobody here wrote, prints. Fails when it exits with an error."""
    quiet = ("--silent", "--show-error", "--fail", "--max-time", "10", "--noproxy", "*")
    process = await asyncio.create_subprocess_exec(
        "curl", *quiet, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate(data)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def echo(request: web.Request) -> web.StreamResponse:
    """Says what was asked and with what."""
    body = await request.read()
    return web.Response(text=f"{request.method} {request.raw_path} {len(body)} {body[:20]!r}")


# --- methods, by a client that nobody here wrote


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])
@pytest.mark.parametrize("size", [0, 5, 300_000])
async def test_curl_with_every_method(tmp_path: Path, method: str, size: int) -> None:
    async with fronted(tmp_path, {"/it": echo}) as it:
        url = it.client.base + "/it?a=b%20c"
        body = b"x" * size
        given = ("--data-binary", "@-") if size else ()
        said = await curl("--request", method, *given, url, data=body)
        assert said == f"{method} /it?a=b%20c {size} {body[:20]!r}"
        if size:
            chunked = await curl("--request", method, "-H", "Transfer-Encoding: chunked", *given, url, data=body)
            assert chunked == said


async def test_a_method_that_nobody_has_heard_of_goes_through(tmp_path: Path) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(raw_answer(await connection.reader.readexactly(5)))

    async with RawOrigin(serve) as origin, running_edge(tmp_path, origin.url) as (_, client):
        assert await curl("--request", "X-Brew!", "--data-binary", "@-", client.base + "/it", data=b"hello") == "hello"
    assert origin.heads[0].startswith(b"X-Brew! /it HTTP/1.1\r\n")


async def test_curl_head(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/it": page("twelve bytes", Cache_Control="no-store")}) as it:
        head = await curl("--head", it.client.base + "/it")
    assert re.match(r"HTTP/1.1 200 OK\r\n", head)
    assert re.search(r"(?i)\r\ncontent-length: 12\r\n", head)


async def test_curl_uploads_a_file_with_100_continue(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/it": echo}) as it:
        said = await curl(
            "--upload-file", "-", "-H", "Expect: 100-continue", "--expect100-timeout", "9", it.client.base + "/it", data=b"x" * 9
        )
    assert said == "PUT /it 9 b'xxxxxxxxx'"


# --- HEAD and OPTIONS


async def test_head_has_the_fields_of_get_and_no_body_stored_or_not(tmp_path: Path) -> None:
    kept = page("twelve bytes", Cache_Control="max-age=60", Content_Type="text/x-a")
    passed = page("twelve bytes", Cache_Control="no-store", Content_Type="text/x-a")
    ways = {"/kept": kept, "/passed": passed}
    async with fronted(tmp_path, ways) as it:
        await it.client.recorded("/kept")
        async with connected(it.edge) as raw:
            for target, asked in (("/kept", 0), ("/passed", 1)):
                raw.send(f"HEAD {target} HTTP/1.1\r\nHost: {it.client.base[7:]}\r\n\r\n".encode())
                raw.send(f"GET {target} HTTP/1.1\r\nHost: {it.client.base[7:]}\r\n\r\n".encode())
                head, get = await raw.response("HEAD"), await raw.response()
                assert head.status == get.status == 200
                assert head.all("Content-Length") == get.all("Content-Length") == ["12"]
                assert head.all("Content-Type") == get.all("Content-Type")
                assert (head.body, get.body) == (b"", b"twelve bytes")
                assert it.origin.count(target, "HEAD") == asked
    assert it.origin.count("/kept") == 1


async def test_a_head_of_what_is_not_stored_stores_nothing(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello", Cache_Control="max-age=60")}) as it:
        assert (await it.client.ask("/page", "HEAD")).body == b""
        assert (await it.client.ask("/page")).body == b"hello"
    assert [asked.method for asked in it.origin.asked] == ["HEAD", "GET"]


async def test_options_is_the_origins_but_for_the_server_as_a_whole_and_the_last_hop(tmp_path: Path) -> None:
    """RFC 9110 section 9.3.7 and 7.6.2."""
    async with fronted(tmp_path, {"/page": page("", 204, Allow="GET, X-BREW")}) as it:
        assert (await it.client.ask("/page", "OPTIONS"))["Allow"] == "GET, X-BREW"
        async with connected(it.edge) as raw:
            raw.send(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")
            raw.send(b"OPTIONS /page HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n")
            for _ in range(2):
                own = await raw.response()
                assert own.status == 204
                assert "GET" in own.all("Allow")[0]
            raw.send(b"OPTIONS /page HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 5\r\n\r\n")
            assert (await raw.response()).all("Allow") == ["GET, X-BREW"]
    assert it.origin.count("/page") == 2
    assert it.origin.last("/page").fields["Max-Forwards"] == "4"


@pytest.mark.parametrize("line", ["TRACE /page", "CONNECT a.test:80"])
async def test_trace_and_connect_go_nowhere(tmp_path: Path, line: str) -> None:
    async with fronted(tmp_path, {"/page": echo}) as it, connected(it.edge) as raw:
        raw.send(f"{line} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        assert (await raw.response()).status in (405, 501)
    assert it.origin.asked == []


# --- who is speaking: RFC 7239, Via, X-Forwarded-*

CLAIMS = {
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
    "Forwarded": "for=192.0.2.7;proto=https",
    "X-Real-IP": "192.0.2.7",
    "Via": "2 cdn",
    "X_Forwarded_For": "192.0.2.9",
}


async def test_claims_of_an_untrusted_peer_do_not_reach_the_origin(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page()}) as it:
        await it.client.ask("/page", headers=CLAIMS)
    host = it.client.base[7:]
    fields = it.origin.last("/page").fields
    assert [fields.getall(name) for name in FORWARDING] == [
        ["127.0.0.1"],
        ["http"],
        [host],
        [f'for=127.0.0.1;host="{host}";proto=http'],
        ["2 cdn, 1.1 edgeproxy"],
    ]
    assert "192.0.2" not in str({name: value for name, value in fields.items() if name != "Via"})


async def test_claims_of_a_trusted_proxy_are_kept_and_continued(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page()}, edge='trusted_proxies = ["127.0.0.0/8"]') as it:
        await it.client.ask("/page", headers=CLAIMS)
    host = it.client.base[7:]
    fields = it.origin.last("/page").fields
    assert [fields.getall(name) for name in FORWARDING] == [
        ["192.0.2.7, 127.0.0.1"],
        ["https"],
        ["shop.example"],
        [f'for=192.0.2.7;proto=https, for=127.0.0.1;host="{host}";proto=http'],
        ["2 cdn, 1.1 edgeproxy"],
    ]
    assert "192.0.2.9" not in str(fields)


async def test_hop_by_hop_fields_end_here_both_ways(tmp_path: Path) -> None:
    async def way(request: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Connection": "X-Hop", "X-Hop": "1", "X-End": "1", "Keep-Alive": "timeout=5"})

    sent = {"Connection": "X-Mine", "X-Mine": "1", "Keep-Alive": "300", "X-End": "1", "Proxy-Connection": "close"}
    async with fronted(tmp_path, {"/page": way}) as it:
        answer = await it.client.ask("/page", headers=sent)
    asked = it.origin.last("/page").fields
    assert [name in asked for name in ("X-Mine", "Keep-Alive", "Proxy-Connection", "X-End")] == [False, False, False, True]
    assert [answer[name] for name in ("X-Hop", "Keep-Alive", "X-End")] == ["", "", "1"]
    assert answer["Via"] == "1.1 edgeproxy"


async def test_a_request_that_came_through_here_before_is_told_so(tmp_path: Path) -> None:
    """RFC 9110 section 7.6.3: Via finds loops."""
    async with fronted(tmp_path, {"/page": page()}) as it:
        answer = await it.client.ask("/page", headers={"Via": "1.1 edgeproxy, 1.1 other, 1.1 edgeproxy, 1.1 edgeproxy"})
    assert answer.status == 508
    assert answer["Proxy-Status"] == "edgeproxy;error=proxy_loop_detected"
    assert it.origin.asked == []


# --- where the edge listens, and where the origin is


async def test_several_listeners_one_of_them_ipv6_one_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(scripted({"/page": page("hello", Cache_Control="max-age=60")}))
        config = load(write_config(tmp_path, origin.url, http=f"127.0.0.1:0 [::1]:0 unix:{path}"))
        edge = await stack.enter_async_context(running(config))
        session = await stack.enter_async_context(ClientSession())
        for address in edge.listener.addresses[:2]:
            assert (await Client(f"http://{address}", session).ask("/page")).body == b"hello"
        assert edge.listener.addresses[1].startswith("[::1]:")
        assert origin.last("/page").fields["X-Forwarded-For"] == "::1"
        assert 'for="[::1]"' in origin.last("/page").fields["Forwarded"]
        over_socket = await stack.enter_async_context(ClientSession(connector=UnixConnector(str(path))))
        assert (await Client("http://a.test", over_socket).ask("/page")).body == b"hello"
        assert origin.last("/page").fields["X-Forwarded-For"] == "unknown"


async def test_an_origin_on_a_unix_socket(tmp_path: Path) -> None:
    serve = always(raw_answer(b"hello", b"Cache-Control: max-age=60"))
    async with (
        RawOrigin(serve, unix=tmp_path / "origin.sock") as origin,
        running_edge(tmp_path, origin.url) as (_, client),
        asyncio.timeout(PATIENCE),
    ):
        assert (await client.ask("/page")).body == b"hello"
        assert (await client.recorded("/page")).body == b"hello"
    assert len(origin.heads) == 1
