"""Validators as processes, and an edge that asks them: final with a quorum, never on a fork, and serving whatever they do."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgeproxy.app import Edge
from edgeproxy.ledger.checkpoint import open_checkpoint, read_checkpoint
from edgeproxy.ledger.cosigning import encode_request
from edgeproxy.ledger.drafts import PurgeDraft
from edgeproxy.ledger.note_keys import Signer, parse_verifier
from edgeproxy.storage.ledger_key import read_key
from tests.support.edge import Client, command, json_of, running_edge, until
from tests.support.logs import Log, published
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, running_pebble
from tests.support.site import running_site
from tests.support.validators import (
    AnyValidator,
    Liar,
    ValidatorProcess,
    configured,
    cosigns_anything,
    introduce,
    local_validators,
    lying,
    submitted,
)

FINAL = "/.edge/ledger/checkpoint.final"


@pytest.fixture
def validators(tmp_path: Path) -> Iterator[list[ValidatorProcess]]:
    made = [ValidatorProcess(tmp_path / f"v{number}", f"v{number}.example") for number in range(3)]
    for waits in [each.begin() for each in made]:
        waits()
    yield made
    for each in made:
        each.stop()


@asynccontextmanager
async def edge_with(folder: Path, validators: list[AnyValidator], quorum: int) -> AsyncIterator[tuple[Edge, Client]]:
    """An edge whose ledger its validators know, in front of a site."""
    async with running_site() as origin, running_edge(folder, origin.url, more=configured(validators, quorum)) as (edge, client):
        introduce(edge, client.base, validators)
        yield edge, client


async def write(edge: Edge, count: int = 1) -> int:
    """Commit blocks; answers the size of the ledger."""
    for number in range(count):
        edge.sequencer.append(PurgeDraft("*", "url", f"http://a/{number}", "soft", edge.clock.now()))
    await edge.sequencer.flush()
    return edge.sequencer.head().size


async def is_final(client: Client, size: int) -> bytes:
    """Wait until the edge shows a final checkpoint of at least this size."""

    async def shown() -> bytes | None:
        answer = await client.ask(FINAL)
        stated = read_checkpoint(answer.body) if answer.status == 200 else None
        return answer.body if stated is not None and stated.size >= size else None

    return await until(shown, 40)


async def finality(edge: Edge) -> dict[str, object]:
    return (await edge.backend.status())["finality"]


async def test_two_of_three_make_it_final_and_killed_ones_are_missed_by_nobody_who_visits(
    tmp_path: Path, validators: list[ValidatorProcess]
) -> None:
    async with edge_with(tmp_path, [*validators], 2) as (edge, client):
        keys = [parse_verifier(each.vkey) for each in validators]
        log = edge.sequencer.log
        size = await write(edge, 300)
        note = await is_final(client, size)
        opened = open_checkpoint(note, log, log.name, keys)
        assert len(opened.cosigned) >= 2

        took = []
        for _ in range(20):
            began = time.monotonic()
            await is_final(client, await write(edge))
            took.append(time.monotonic() - began)
        print(f"block recorded to final: median {statistics.median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms")

        data = str(edge.config.edge.data)
        head = json_of(await asyncio.to_thread(command, "ledger", "head", "--json", "--data", data))
        assert head["final_size"] == edge.sequencer.head().size == head["size"]
        assert (await finality(edge))["state"] == "final"

        # Two die: nothing is final, everything is served.
        for each in validators[:2]:
            each.kill()
        before = edge.sequencer.head().size
        size = await write(edge, 5)
        await client.recorded("/page?max-age=60")

        async def behind() -> dict[str, object] | None:
            now = await finality(edge)
            told = [each for each in now["validators"] if each["problem"]]  # type: ignore[attr-defined]
            return now if len(told) == 2 else None

        lagging = await until(behind)
        assert lagging["final_size"] == before
        assert lagging["lag_blocks"] == edge.sequencer.head().size - before > 0
        metrics = edge.backend.metrics().decode()
        assert f"edgeproxy_ledger_final_lag_blocks {lagging['lag_blocks']}\n" in metrics
        assert 'edgeproxy_validator_answers_total{validator="v0.example",outcome="unreachable"}' in metrics
        assert "edgeproxy_ledger_fork 0\n" in metrics
        # The newest checkpoint is shown with what cosignatures it has.
        newest = (await client.ask("/.edge/ledger/checkpoint")).body
        assert open_checkpoint(newest, log, log.name, keys).checkpoint.size >= size

        for each in validators[:2]:
            each.start()
        await is_final(client, size)

        async def caught_up() -> bool | None:
            now = await finality(edge)
            sizes = {each["size"] for each in now["validators"]}  # type: ignore[attr-defined]
            return True if sizes == {edge.sequencer.head().size} and now["lag_blocks"] == 0 else None

        await until(caught_up)

        # A rotation: validators follow it by the block in which the old key says so.
        block = await edge.sequencer.rotate()
        note = await is_final(client, block.height + 1)
        new = edge.sequencer.log
        assert new != log
        assert open_checkpoint(note, new, new.name, keys).checkpoint.size > block.height

    # The edge starts again: what was final is so from its first moment, and at rest too.
    at_rest = json_of(await asyncio.to_thread(command, "ledger", "head", "--json", "--data", data))
    assert at_rest["final_size"] == at_rest["size"] == block.height + 1
    async with edge_with(tmp_path, [*validators], 2) as (edge, client):
        assert edge.validators is not None
        assert edge.validators.final_size == block.height + 1
        introduce(edge, client.base, validators)
        await is_final(client, await write(edge))
        assert (await finality(edge))["alarms"] == []


async def test_a_validator_gets_its_own_certificate_and_is_asked_over_it(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "pebble") as pebble:
        authority = ("--acme-directory", pebble.directory, "--acme-ca", str(pebble.ca_file), "--email", "a@example.org")
        secure = ("--listen-tls", f"127.0.0.1:{pebble.tls_port}", "--host", "127.0.0.1", *authority)
        validator = ValidatorProcess(tmp_path / "v", "v.example", flags=secure)
        validator.start()
        try:
            (tmp_path / "roots.pem").write_bytes(pebble.roots())
            table = f'[[ledger.validators]]\nvkey = "{validator.vkey}"\nurl = "https://127.0.0.1:{pebble.tls_port}"\n'
            more = f'{table}ca_file = "{tmp_path / "roots.pem"}"\n'
            async with running_site() as origin, running_edge(tmp_path, origin.url, more=more) as (edge, client):
                introduce(edge, client.base, [validator])
                note = await is_final(client, await write(edge))
                log = edge.sequencer.log
                assert open_checkpoint(note, log, log.name, [parse_verifier(validator.vkey)]).cosigned
        finally:
            validator.stop()


async def _wrong_bytes(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(body=liar.line(await submitted(request) + b"more\n"))


async def _another_key(request: web.Request, liar: Liar) -> web.Response:
    other = Signer(liar.name, bytes([67]) * 32, liar.signer.verifier.kind)  # type: ignore[arg-type]
    return web.Response(body=liar.line(await submitted(request), signer=other))


async def _time_zero(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(body=liar.line(await submitted(request), at=0))


async def _endless(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(body=b"x" * 200_000)


async def _says_fork(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(status=422, text="you are a fork")


async def _says_ahead(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(status=409, body=b"1000000\n", content_type="text/x.tlog.size")


async def _says_less(request: web.Request, liar: Liar) -> web.Response:
    return web.Response(status=409, body=b"1\n", content_type="text/x.tlog.size")


LIES = {
    "wrong bytes": (_wrong_bytes, "does not verify", False),
    "another key": (_another_key, "does not verify", False),
    "time zero": (_time_zero, "time that cannot be", False),
    "endless": (_endless, "too long", False),
    "says fork": (_says_fork, "contradiction", True),
    "says ahead": (_says_ahead, "1000000 blocks", True),
    "says less than before": (_says_less, "lost its state", True),
}


async def test_one_that_lies_counts_for_nothing_and_cannot_stop_the_others(tmp_path: Path) -> None:
    async with (
        lying(cosigns_anything) as liar,
        local_validators(tmp_path, 2) as honest,
        edge_with(tmp_path, [liar, *honest], 2) as (edge, client),
    ):
        standing = next(each for each in edge.validators.standings if each.asked.name == liar.name)  # type: ignore[union-attr]
        for lie, problem, is_alarm in LIES.values():
            liar.lie, standing.retry_at = lie, 0.0

            async def told(problem: str = problem) -> bool | None:
                standing.retry_at = 0.0
                await write(edge)
                return True if problem in (standing.problem or "") else None

            await until(told)
            assert (standing.alarm is not None) is is_alarm, problem
            await is_final(client, await write(edge))
            assert edge.validators.fork is None  # type: ignore[union-attr]
            if is_alarm:
                healthy, checks = edge.backend.healthy()
                assert healthy
                assert liar.name in checks["validators"]
                assert f'edgeproxy_validator_alarm{{validator="{liar.name}"}} 1\n' in edge.backend.metrics().decode()
                if standing.has_gone_back:
                    assert lie is _says_less
                    return
                liar.lie, standing.retry_at = cosigns_anything, 0.0

                async def calm() -> bool | None:
                    await write(edge)
                    return True if standing.alarm is None else None

                await until(calm)


async def test_a_forked_ledger_is_never_final_whatever_one_liar_cosigns(
    tmp_path: Path, validators: list[ValidatorProcess]
) -> None:
    honest = validators[:2]
    async with lying(cosigns_anything) as liar:
        async with edge_with(tmp_path, [liar, *honest], 2) as (edge, client):
            await is_final(client, await write(edge, 20))
            log = edge.sequencer.log

            async def all_asked() -> bool | None:
                sizes = {each.size for each in edge.validators.standings}  # type: ignore[union-attr]
                return True if sizes == {edge.sequencer.head().size} else None

            await until(all_asked)
            size = edge.sequencer.head().size
        # Somebody takes the ledger away and goes on with another one under the same key.
        data = tmp_path / "data"
        key = read_key(data)
        assert key is not None
        for path in data.glob("ledger.sqlite*"):
            path.unlink()
        (data / "ledger-final").unlink()
        more = configured([liar, *honest], 2)
        async with running_site() as origin:
            config_edge = running_edge(tmp_path, origin.url, more=more)
            async with config_edge as (edge, client):
                # A new ledger gets a new key by itself (sequencer.signing); the thief's edge does not.
                edge.sequencer._signing().signer = key
                introduce(edge, client.base, honest)
                for each in honest:
                    each.know(str(log), f"{client.base}/.edge/ledger")
                new = await write(edge, 2)
                assert new < size

                async def reported() -> bool | None:
                    told = [each for each in edge.validators.standings if each.alarm]  # type: ignore[union-attr]
                    return True if len(told) == 2 and edge.validators.fork else None  # type: ignore[union-attr]

                await until(reported, 40)
                for _ in range(3):
                    await write(edge, size)
                    assert (await client.ask("/page?max-age=60")).status == 200

                async def refused() -> bool | None:
                    # Larger than what was cosigned by now: no proof leads there.
                    for each in edge.validators.standings:  # type: ignore[union-attr]
                        each.retry_at = 0.0
                    await write(edge)
                    evidence = [list((each.folder / "evidence").glob("conflict-*.request")) for each in honest]
                    return True if all(evidence) else None

                await until(refused, 40)
                assert liar.asked > 0
                assert (await client.ask(FINAL)).status == 404
                now = await finality(edge)
                assert (now["state"], now["final_size"]) == ("fork", None)
                assert "edgeproxy_ledger_fork 1\n" in edge.backend.metrics().decode()
                assert "contradicts this ledger" in edge.backend.healthy()[1]["validators"]
                assert list((data / "ledger-evidence").glob("*.note"))


async def test_what_the_true_key_signed_and_should_not_have_is_refused_with_evidence(tmp_path: Path) -> None:
    log = Log()
    log.grow(20)
    async with local_validators(tmp_path, 1) as (validator,), published(log) as url, aiohttp.ClientSession() as session:
        validator.know(log.vkey, url)

        async def ask(body: bytes) -> tuple[int, bytes]:
            async with session.post(f"{validator.url}/add-checkpoint", data=body) as answer:
                return answer.status, await answer.read()

        async def known() -> bool | None:
            return True if (await ask(log.request(0)))[0] == 200 else None

        await until(known)
        forks = [log.fork(20), log.fork(10), log.fork(21)]
        forks[0].grow(1, "two heads of one size")
        forks[1].grow(20, "rewritten")
        forks[2].grow(3)
        forks[2].raws[22] = forks[2].raws[22].replace(b'"soft"', b'"sofa"')
        bodies = [
            encode_request(21, (), forks[0].note()),
            encode_request(21, forks[1].proof(21, 30), forks[1].note()),
            encode_request(21, (), log.fork(15).note()),
            forks[2].request(21),
        ]
        log.raws = forks[2].raws
        statuses = [(await ask(body))[0] for body in bodies]
        assert statuses == [422, 422, 400, 422]
        kept = [json.loads(path.read_text()) for path in sorted((validator.folder / "evidence").glob("*.json"))]
        assert sorted((each["status"], each["size"]) for each in kept if each["status"] == 422) == [
            (422, 21),
            (422, 24),
            (422, 30),
        ]
        assert any("block 22 breaks a rule" in each["why"] for each in kept)
        shown = json_of(await asyncio.to_thread(command, "validator", "status", "--json", "--data", str(validator.folder)))
        assert shown["evidence"] == {"fork": 2, "conflict": len(kept) - 2}
        assert shown["logs"] == [
            {"origin": log.origin, "url": url, "size": 21, "cosigned": shown["logs"][0]["cosigned"], "vkey": log.vkey}  # type: ignore[index]
        ]
