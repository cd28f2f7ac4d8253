"""A validator as strangers meet it over HTTP: its paths, its limits, and that nobody can keep it from answering the others."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.ledger.cosigning import MAX_REQUEST, monitoring_path
from edgeproxy.validator import answers as answers_module
from edgeproxy.validator import service as service_module
from tests.support.edge import until
from tests.support.logs import Log, published
from tests.support.validators import LocalValidator, local_validators


async def raw(validator: LocalValidator, data: bytes) -> bytes:
    """What a client is told that sends these bytes, to the end of the connection."""
    host, _, port = validator.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    said = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return said


async def test_paths_methods_and_limits(tmp_path: Path) -> None:
    log = Log()
    log.grow(4)
    async with local_validators(tmp_path, 1) as (validator,), published(log) as url, aiohttp.ClientSession() as session:
        validator.know(log.vkey, url)
        base = validator.url

        async def ask(method: str, path: str, data: bytes | None = None) -> tuple[int, bytes, str]:
            async with session.request(method, f"{base}{path}", data=data) as answer:
                return answer.status, await answer.read(), answer.headers.get("Content-Type", "")

        async def cosigned() -> bool | None:
            return True if (await ask("POST", "/add-checkpoint", log.request(0)))[0] == 200 else None

        assert (await ask("GET", f"/{monitoring_path(log.origin)}"))[0] == 404
        await until(cosigned)
        status, note, media = await ask("GET", f"/{monitoring_path(log.origin)}")
        assert (status, note.startswith(log.note()), media) == (200, True, "text/plain; charset=utf-8")
        assert (await ask("HEAD", f"/{monitoring_path(log.origin)}"))[:2] == (200, b"")
        assert validator.vkey.encode() in (await ask("GET", "/"))[1]
        assert await ask("POST", "/add-checkpoint", log.request(0)) == (409, b"5\n", "text/x.tlog.size")
        for method, path, expected in (
            ("GET", "/add-checkpoint", 405),
            ("POST", "/", 405),
            ("DELETE", "/", 405),
            ("GET", "/nothing", 404),
            ("GET", "/../validator-key", 404),
            ("POST", "/sign-subtree", 405),
            ("GET", f"/{'0' * 64}/checkpoint", 404),
        ):
            assert (await ask(method, path))[0] == expected, (method, path)
        assert (await ask("POST", "/add-checkpoint", b""))[0] == 400
        assert (await ask("POST", "/add-checkpoint", Log("b.example").request(0)))[0] == 404
        assert (await ask("POST", "/add-checkpoint", b"x" * (MAX_REQUEST + 1)))[0] == 413
        assert (await raw(validator, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_who_trickles_is_cut_off_and_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "READ_SECONDS", 0.2)
    monkeypatch.setattr(answers_module, "MOST_AT_ONCE", 1)
    log = Log()
    async with local_validators(tmp_path, 1) as (validator,), published(log) as url, aiohttp.ClientSession() as session:
        validator.know(log.vkey, url)
        slow = b"POST /add-checkpoint HTTP/1.1\r\nHost: v\r\nContent-Length: 100\r\n\r\nold"
        trickling = [asyncio.ensure_future(raw(validator, slow)) for _ in range(5)]

        async def cosigned() -> bool | None:
            async with session.post(f"{validator.url}/add-checkpoint", data=log.request(0)) as answer:
                return True if answer.status == 200 else None

        await until(cosigned)
        assert all(said.startswith(b"HTTP/1.1 408 ") for said in await asyncio.gather(*trickling))


async def test_a_log_that_does_not_answer_keeps_no_other_log_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "LOOK_SECONDS", 1.0)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(silent, "127.0.0.1", 0)
    one, other = Log("one.example"), Log("two.example")
    other.signer = type(other.signer)("two.example", bytes([2]) * 32)
    async with (
        mute,
        local_validators(tmp_path, 1) as (validator,),
        published(other) as url,
        aiohttp.ClientSession() as session,
    ):
        validator.know(one.vkey, f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}")
        validator.know(other.vkey, url)

        async def ask(log: Log) -> int:
            async with session.post(f"{validator.url}/add-checkpoint", data=log.request(0)) as answer:
                return answer.status

        async def known() -> bool | None:
            return True if await ask(other) == 200 else None

        await until(known)
        waiting = asyncio.ensure_future(ask(one))
        other.grow(1)
        async with session.post(f"{validator.url}/add-checkpoint", data=other.request(1)) as answer:
            assert answer.status == 200
        assert not waiting.done()
        assert await waiting == 503
