"""SIGKILL of the whole edge under write load, again and again: after each start the ledger is whole and nothing is lost.

Nothing of what was acknowledged, that is: an answer with `Edge-Block: N` and `Repr-Digest` promises that block N is there with
that body. `make crash` runs a hundred rounds; the same test runs a few with all the others.
"""

import asyncio
import base64
import random
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.ledger.block import Stored, decode
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_rows import connect_to_read, read_rows
from tests.support.edge import Answer, Client, EdgeProcess, command, write_config
from tests.support.site import Site, content, running_site

WRITERS = 8
SIZES = (100, 3000, 70_000, 300_000, 900_000)
REWRITTEN = [f"/rewritten-{number}?cc=max-age=0&size={500 + number}" for number in range(20)]
PEEK = {"Cache-Control": "only-if-cached, max-stale=600"}
"""Out of the store, fresh or not, and from nowhere else."""


@dataclass(frozen=True)
class Promise:
    """What one answer acknowledged."""

    height: int
    digest: bytes
    target: str
    version: int

    @classmethod
    def of(cls, target: str, answer: Answer) -> "Promise | None":
        """What `answer` promises, after a look whether it is right in itself; None when it comes from no block yet."""
        if "Edge-Block" not in answer.headers:  # type: ignore[operator]
            return None
        return cls(int(answer["Edge-Block"]), _digest(answer), target, version_of(target, answer))


def _digest(answer: Answer) -> bytes:
    return base64.b64decode(answer["Repr-Digest"].removeprefix("sha-256=:").removesuffix(":"))


def version_of(target: str, answer: Answer) -> int:
    """Which version of the page this is; every byte of it must be."""
    assert answer.status == 200, (target, answer.status)
    version = int(answer.body.split(b" ", 2)[1])
    assert answer.body == content(target, str(version), int(target.rpartition("size=")[2])), target
    return version


@dataclass
class Crash:
    """One edge that is started and killed, the load on it, and all that it ever promised."""

    edge: EdgeProcess
    site: Site
    chance: random.Random
    promises: dict[int, Promise] = field(default_factory=dict)
    in_this_round: list[Promise] = field(default_factory=list)
    asked: int = 0

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Host": "site.test"}, timeout=aiohttp.ClientTimeout(total=20))

    async def round(self, number: int) -> None:
        """Start, check, load, kill."""
        base = await asyncio.to_thread(self.edge.start)
        report = await asyncio.to_thread(audit_now, self.edge.data)
        assert report.is_clean, report.faults[:3]
        self._check_blocks([*self.in_this_round, *self.chance.sample(list(self.promises.values()), min(50, len(self.promises)))])
        async with self.session() as session:
            client = Client(base, session)
            await self._check_pages(client)
            self.in_this_round = []
            await self._load_and_kill(client, number)

    def _check_blocks(self, promises: list[Promise]) -> None:
        """Each promised block is there, with that body."""
        with closing(connect_to_read(self.edge.data / LEDGER_FILE)) as connection:
            for promise in promises:
                (row,) = read_rows(connection, promise.height, promise.height + 1)
                entry = decode(row.raw).entry
                assert isinstance(entry, Stored)
                assert (entry.height, entry.body) == (promise.height, promise.digest), promise

    async def _check_pages(self, client: Client) -> None:
        """Each page of the last round is still served, in the promised version or a later one, without asking the origin."""
        newest = {promise.target: promise for promise in sorted(self.in_this_round, key=lambda promise: promise.height)}
        seen = len(self.site.seen)
        for target, promise in newest.items():
            answer = await client.ask(target, headers=PEEK)
            assert version_of(target, answer) >= promise.version
            assert int(answer["Edge-Block"]) >= promise.height
        assert len(self.site.seen) == seen

    async def _load_and_kill(self, client: Client, number: int) -> None:
        # Killed after a number of promises, then a little later: not always at the same step of a batch.
        enough, pause = self.chance.randrange(1, 150), self.chance.random() * 0.03
        reached = asyncio.Event()
        writers = [
            asyncio.get_running_loop().create_task(self._write(client, f"{number}-{writer}", enough, reached))
            for writer in range(WRITERS)
        ]
        async with asyncio.timeout(60):
            await asyncio.wait([*writers, asyncio.get_running_loop().create_task(reached.wait())], return_when="FIRST_COMPLETED")
        for writer in writers:
            assert not writer.done() or writer.exception() is None
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*writers), pause)
        self.edge.kill()
        for writer in writers:
            writer.cancel()
        for outcome in await asyncio.gather(*writers, return_exceptions=True):
            assert outcome is None or isinstance(outcome, (asyncio.CancelledError, aiohttp.ClientError)), repr(outcome)
        assert len(self.in_this_round) >= enough
        for promise in self.in_this_round:
            kept = self.promises.setdefault(promise.height, promise)
            assert kept == promise, "a height was given twice"

    async def _write(self, client: Client, name: str, enough: int, reached: asyncio.Event) -> None:
        """New pages small and large, pages that change, rules; and a look at what is acknowledged meanwhile."""
        recent: list[str] = []
        for number in range(10_000):
            target = f"/new-{name}-{number}?max-age=86400&size={self.chance.choice(SIZES)}"
            if number % 3 == 2:
                self.site.version = str(int(self.site.version) + 1)
                target = self.chance.choice(REWRITTEN)
            version_of(target, await client.ask(target))
            recent = [*recent[-20:], target]
            if number % 7 == 6:
                gone = f"/changed-{name}-{number}?max-age=86400&size=100"
                await client.ask(gone)
                await client.ask(gone, method="POST", data=b"x")
            for looked_at in self.chance.sample(recent, min(2, len(recent))):
                answer = await client.ask(looked_at, headers=PEEK)
                if (promise := Promise.of(looked_at, answer)) is not None:
                    self.in_this_round.append(promise)
            if len(self.in_this_round) >= enough:
                reached.set()


@pytest.mark.parametrize(
    "rounds", [5, pytest.param(100, marks=[pytest.mark.crash, pytest.mark.timeout(1800)])], ids=["few", "hundred"]
)
async def test_nothing_acknowledged_is_lost_when_the_edge_is_killed(tmp_path: Path, rounds: int) -> None:
    async with running_site() as site:
        config = write_config(tmp_path, site.url, more='[ledger]\nbatch_delay = "10ms"')
        crash = Crash(EdgeProcess(config), site, random.Random(rounds))
        try:
            for number in range(rounds):
                await crash.round(number)
            base = await asyncio.to_thread(crash.edge.start)
            crash._check_blocks(list(crash.promises.values()))
            async with crash.session() as session:
                await crash._check_pages(Client(base, session))
        finally:
            assert await asyncio.to_thread(crash.edge.stop) == 0
        done = await asyncio.to_thread(command, "ledger", "verify", "--data", str(crash.edge.data))
        assert done.returncode == 0, done.stderr
        assert len(crash.promises) > rounds
        assert "Traceback" not in crash.edge.log.read_text()
