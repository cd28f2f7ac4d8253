"""A validator killed by SIGKILL while it writes down what it cosigns: it never goes back, and never cosigns a second tree."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.cosigning import encode_request, monitoring_path
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.validator.folder import add_logs, known_log, make_folder
from edgeproxy.validator.process import ServeSettings, running
from tests.support.edge import ROOT
from tests.support.logs import Log, published
from tests.support.pebble import free_ports


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, bytes]:
    async with session.post(f"{url}/add-checkpoint", data=body) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize(("step", "kept"), [("before", 5), ("inside", 5), ("after", 9)])
async def test_what_is_on_the_disk_holds_and_what_is_not_was_never_said(tmp_path: Path, step: str, kept: int) -> None:
    log, data = Log(), tmp_path / "v"
    key = make_folder(data, "v.example", []).verifier
    async with published(log) as url, aiohttp.ClientSession() as session:
        add_logs(data, [known_log(log.vkey, url)])
        log.grow(4)
        async with running(ServeSettings(data, ("127.0.0.1:0",))) as validator:
            assert (await ask(session, validator.addresses[0], log.request(0)))[0] == 200
        log.grow(4)
        (port,) = free_ports(1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.validator_killed", str(data), str(port), step),
            cwd=ROOT,
            env=dict(os.environ),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        with pytest.raises(aiohttp.ClientError):
            await ask(session, f"http://127.0.0.1:{port}", log.request(5))
        assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL

        other = log.fork(5)
        other.grow(4, "other")
        async with running(ServeSettings(data, ("127.0.0.1:0",))) as validator:
            base = validator.addresses[0]
            async with session.get(f"{base}/{monitoring_path(log.origin)}") as answer:
                shown = open_checkpoint(await answer.read(), log.signer.verifier, log.origin, (parse_verifier(str(key)),))
            assert shown.checkpoint.size == kept
            if kept == 9:
                # Its log asks again as if nothing had been, and is told; the other tree of that size has lost the race for ever.
                assert await ask(session, base, log.request(5)) == (409, b"9\n")
                assert (await ask(session, base, encode_request(9, (), other.note())))[0] == 422
                assert (await ask(session, base, log.request(9)))[0] == 200
            else:
                assert (await ask(session, base, log.request(5)))[0] == 200
