"""Asks the validators to cosign the ledger's checkpoints, and says which of them is final.

Owns: rounds, what is known of each validator, and the newest final checkpoint. Must not touch serving, and must not write the
ledger: when nobody cosigns, nothing waits for it but what is final.

A round is one checkpoint, the newest when it begins, for which all validators are asked together, each at most once at a time: so
cosignatures meet on one tree even when heads come faster than answers. The next round begins when this one is final, or when
nobody is being asked for it any more. Who fails is asked again after a wait that grows, for whatever round there is then.

A checkpoint is final when the policy's quorum cosigned it, it goes on from the final one before it, and nobody has shown a
checkpoint of this log's key that contradicts this ledger. It is on the disk before anybody is shown it.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from edgeproxy.clock import Clock
from edgeproxy.errors import EdgeError, ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, read_checkpoint
from edgeproxy.ledger.cosigning import encode_request
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.ledger.notes import Note, SignatureLine, open_note, parse_note
from edgeproxy.ledger.policy import Policy
from edgeproxy.sequencer.asking import Answer, Asked, Line, Outcome, wait_after
from edgeproxy.sequencer.final import keep_evidence, keep_final, read_evidence, read_final
from edgeproxy.sequencer.publication import Publication
from edgeproxy.sequencer.sequencer import Head
from edgeproxy.tasks import spawn

log = logging.getLogger("edgeproxy.validators")

ROUND_SECONDS = 0.05
"""Between the beginnings of two rounds, at least."""
REFRESH_SECONDS = 300.0
"""After so long without a block the same checkpoint is cosigned anew, so that its age says that somebody still looks."""
LAGGING_SECONDS = 5.0
"""How long a block may wait to be final before the state is called lagging."""
_HEADS = 1024
_MOMENT = 0.05


class Ledger(Protocol):
    """What is asked of the sequencer."""

    def head(self) -> Head: ...
    @property
    def publication(self) -> Publication: ...
    @property
    def log(self) -> Verifier: ...


@dataclass(slots=True)
class Standing:
    """One validator: what it has cosigned, and how asking it goes. `retry_at`: monotonic clock; `cosigned_at`: POSIX seconds."""

    asked: Asked
    size: int | None = None
    """What it is believed to have cosigned last; None before its first answer."""
    cosigned: int = 0
    """The largest size that it has cosigned for this process."""
    cosigned_at: int | None = None
    failures: int = 0
    retry_at: float = 0.0
    problem: str | None = None
    alarm: str | None = None
    """What it said that must not be: that this ledger is a fork, or that itself has gone back. Stays until it cosigns again."""
    has_gone_back: bool = False
    """It has lost its state, and could be led to cosign another tree: it is not asked any more while this process lives."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    asking: "_Round | None" = None


@dataclass(slots=True)
class _Round:
    """One checkpoint on its way to being final; `lines` are verified cosignatures by name of the policy."""

    note: Note
    checkpoint: Checkpoint
    began: float
    lines: dict[str, SignatureLine] = field(default_factory=dict)
    is_final: bool = False

    def encode(self) -> bytes:
        """The note with the cosignatures so far."""
        return Note(self.note.text, (*self.note.signatures, *self.lines.values())).encode()


@dataclass(frozen=True, slots=True)
class Lag:
    """How far what is final is behind: blocks, and seconds since the first of them was committed."""

    blocks: int
    seconds: float


class Validators:
    """The validators of one ledger. `folder` is the data folder."""

    def __init__(self, ledger: Ledger, policy: Policy, asked: Sequence[Asked], clock: Clock, folder: Path) -> None:
        self.final: bytes | None = None
        """The newest final note."""
        self.final_size: int | None = None
        self.fork: str | None = None
        """Why nothing becomes final any more: this log's key has signed what contradicts this ledger."""
        self.chance: Callable[[], float] = random.random
        self.standings = [Standing(each) for each in asked]
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._folder = folder
        self._wake = asyncio.Event()
        self._round: _Round | None = None
        self._heads: deque[tuple[int, float]] = deque()
        """Sizes that were committed and are not final, with the monotonic time at which each was seen."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._saving = asyncio.Lock()
        self._became_final = asyncio.Event()
        """Set, and replaced, whenever more is final."""
        self._lines: dict[str, Line] = {}
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Validators {len(self.standings)} final={self.final_size} round={self._round and self._round.checkpoint.size}>"

    # --- life ---

    async def start(self) -> None:
        """Take up what was final, and begin to ask. Raises StartError."""
        session = self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._lines = {each.asked.name: Line(session, each.asked) for each in self.standings}
        await self._take_up()
        self.on_head()
        self._spawn(self._run(), "validators")

    async def stop(self) -> None:
        """Stop asking. What is not final then is asked for at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        if self._session is not None:
            await self._session.close()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = spawn(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_up(self) -> None:
        """What was final is so still, if it is a part of this ledger."""
        for note in await asyncio.to_thread(lambda: list(read_evidence(self._folder))):
            # Its signature was verified before it was kept, perhaps under a key that has handed over since.
            shown = read_checkpoint(note)
            if shown is not None and (why := await self._differs(shown)) is not None:
                self._alarm_fork(f"{why}; the note is in the folder ledger-evidence")
        kept = await asyncio.to_thread(read_final, self._folder)
        stated = read_checkpoint(kept)
        if kept is None or stated is None:
            return
        try:
            known = (self._ledger.log, *(each.verifier for each in self._policy.witnesses.values()))
            vouched = {each.verifier for each in open_note(parse_note(kept), known)}
        except ProofRefused as error:
            # A flipped bit of a file is no fork. What is final is asked for again.
            log.warning("what was final is damaged, or of keys that are not known any more (%s)", error)
            return
        if (why := await self._differs(stated)) is not None:
            self._alarm_fork(f"what was final contradicts this ledger: {why}")
            return
        if not self._policy.is_met({name for name, each in self._policy.witnesses.items() if each.verifier in vouched}):
            log.warning("what was final has no quorum by the policy as it is now")
            return
        self.final, self.final_size = kept, stated.size

    # --- what others see ---

    def on_head(self) -> None:
        """Blocks were committed."""
        size = self._ledger.head().size
        if size > (self.final_size or 0) and len(self._heads) < _HEADS and (not self._heads or self._heads[-1][0] < size):
            self._heads.append((size, self._clock.monotonic()))
        self._wake.set()

    def newest(self, note: bytes) -> bytes:
        """The log's own note with the cosignatures that it has so far."""
        now = self._round
        return now.encode() if now is not None and now.lines and now.note.encode() == note else note

    async def covers(self, height: int, patience: float) -> bool:
        """Whether what is final has the block at `height`. A block that came just now is waited for, up to `patience` seconds,
        unless the validators are behind anyway."""
        end = self._clock.monotonic() + patience
        while height >= (self.final_size or 0):
            left = end - self._clock.monotonic()
            if left <= 0 or self.fork is not None or self.lag().seconds > LAGGING_SECONDS:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._became_final.wait()
        return True

    def lag(self) -> Lag:
        """How far what is final is behind."""
        blocks = self._ledger.head().size - (self.final_size or 0)
        return Lag(blocks, self._clock.monotonic() - self._heads[0][1] if blocks > 0 and self._heads else 0.0)

    @property
    def state(self) -> str:
        """`fork`, `lagging` or `final`; blocks that are on their way lag only after a while."""
        if self.fork is not None:
            return "fork"
        return "lagging" if self.final_size is None or self.lag().seconds > LAGGING_SECONDS else "final"

    @property
    def alarms(self) -> list[str]:
        """What an operator must look at."""
        told = [f"{each.asked.name}: {each.alarm}" for each in self.standings if each.alarm is not None]
        return told if self.fork is None else [self.fork, *told]

    # --- rounds ---

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            self._begin_round(now)
            for each in self._due(now):
                assert self._round is not None, "nobody is due without a round"
                each.asking = self._round
                self._spawn(self._ask(each, self._round), f"validator {each.asked.name}")
            try:
                async with asyncio.timeout(self._sleep(self._clock.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _begin_round(self, now: float) -> None:
        """Go on to the newest checkpoint once the round before has come to its end."""
        before, newest = self._round, self._ledger.publication.checkpoint
        if newest is None or (before is not None and now < before.began + ROUND_SECONDS):
            return
        if before is not None:
            is_old = before.note.encode() != newest or (before.is_final and now >= before.began + REFRESH_SECONDS)
            if not is_old or not self._is_over(before):
                return
        note = parse_note(newest)
        self._round = _Round(note, parse_checkpoint(note.message), now)

    def _is_over(self, one: _Round) -> bool:
        return one.is_final or not any(each.asking is one for each in self.standings)

    def _due(self, now: float) -> list[Standing]:
        """Who is to be asked for this round now."""
        current = self._round
        if current is None:
            return []
        return [
            each
            for each in self.standings
            if each.asking is None
            and not each.has_gone_back
            and each.asked.name not in current.lines
            and each.retry_at <= now
            and (each.size or 0) <= current.checkpoint.size
        ]

    def _sleep(self, now: float) -> float:
        """Seconds until there is something to do without being woken."""
        current = self._round
        if current is None:
            return REFRESH_SECONDS
        times = [current.began + REFRESH_SECONDS]
        waiting = [each for each in self.standings if each.asking is None and not each.has_gone_back]
        times += [each.retry_at for each in waiting if each.asked.name not in current.lines]
        if self._is_over(current) and current.note.encode() != self._ledger.publication.checkpoint:
            times.append(current.began + ROUND_SECONDS)
        # Not before a moment: one who is ahead of the round waits for the next, and there is no time for that.
        return max(min(times) - now, _MOMENT)

    async def _ask(self, standing: Standing, current: _Round) -> None:
        try:
            answer = await self._answer(standing, current)
            standing.outcomes[answer.outcome] += 1
            await self._take(standing, current, answer)
        except EdgeError as error:
            # The ledger itself could not be read for the proof; the disk may be better the next time.
            self._failed(standing, Answer(Outcome.BUSY, f"nothing could be asked: {error}"))
        finally:
            standing.asking = None
            self._wake.set()

    async def _answer(self, standing: Standing, current: _Round) -> Answer:
        """Ask; once more where the first answer is from where to ask."""
        size, message = current.checkpoint.size, current.note.message
        line = self._lines[standing.asked.name]
        answer = Answer(Outcome.BUSY)
        for _ in range(2):
            old = standing.size or 0
            proof = await self._ledger.publication.consistency(old, size) if old else ()
            answer = await line.submit(encode_request(old, proof, current.note.encode()), message, self._clock.seconds)
            if answer.outcome is not Outcome.ELSEWHERE or answer.size > size or answer.size == old:
                break
            if answer.size < standing.cosigned:
                return Answer(Outcome.GONE_BACK, size=answer.size)
            standing.size = answer.size
        return answer

    async def _take(self, standing: Standing, current: _Round, answer: Answer) -> None:
        name, size = standing.asked.name, current.checkpoint.size
        if answer.outcome is Outcome.COSIGNED and answer.line is not None:
            standing.size, standing.cosigned, standing.cosigned_at = size, max(size, standing.cosigned), answer.time
            if standing.problem is not None:
                log.info("validator %s cosigns again, at size %d", name, size)
            standing.failures, standing.retry_at, standing.problem, standing.alarm = 0, 0.0, None, None
            current.lines[name] = answer.line
            await self._finish(current)
        elif answer.outcome is Outcome.ELSEWHERE and size < answer.size <= self._ledger.head().size:
            standing.size = answer.size  # it knows a newer head of ours: the next round begins there
        elif answer.outcome is Outcome.ELSEWHERE and answer.size > size:
            standing.outcomes[Outcome.FORK] += 1
            await self._suspect(standing, f"has cosigned {answer.size} blocks, and this ledger has {self._ledger.head().size}")
        elif answer.outcome is Outcome.GONE_BACK:
            standing.has_gone_back = True
            standing.alarm = (
                f"has cosigned {standing.cosigned} blocks and now says {answer.size}: it has lost its state, retire its key"
            )
            log.error("validator %s %s", name, standing.alarm)
            standing.problem = standing.alarm
        elif answer.outcome is Outcome.FORK:
            await self._suspect(standing, f"refuses this ledger as a contradiction ({answer.problem})")
        else:
            self._failed(standing, answer)

    def _failed(self, standing: Standing, answer: Answer) -> None:
        """It is asked again, later and later."""
        standing.failures += answer.retry_after is None
        waits = answer.retry_after
        standing.retry_at = self._clock.monotonic() + (wait_after(standing.failures, self.chance) if waits is None else waits)
        problem = answer.problem or f"says again and again that it has cosigned {answer.size} blocks"
        if standing.problem is None:
            log.warning("validator %s does not cosign: %s", standing.asked.name, problem)
        standing.problem = problem

    # --- final ---

    async def _finish(self, current: _Round) -> None:
        """The round has one cosignature more: with a quorum of them its checkpoint is final."""
        size = current.checkpoint.size
        if self.fork is not None or not self._policy.is_met(current.lines.keys()):
            return
        async with self._saving:
            note = current.encode()
            if current.is_final:
                if self.final_size == size:
                    self.final = note  # one more than a quorum; what is on the disk has enough of them
                return
            if size < (self.final_size or 0):
                return
            try:
                await asyncio.to_thread(keep_final, self._folder, note)
            except EdgeError as error:
                log.error("%s; nothing is final until it can be", error)
                return
            self.final, self.final_size, current.is_final = note, size, True
            self._became_final.set()
            self._became_final = asyncio.Event()
            while self._heads and self._heads[0][0] <= size:
                self._heads.popleft()
            self._wake.set()

    # --- contradictions ---

    async def _suspect(self, standing: Standing, what: str) -> None:
        """It says that this ledger is a fork. Its own newest checkpoint, which the log's key signed, tells whether that is so."""
        name = standing.asked.name
        shown = await self._lines[name].newest(self._ledger.log.name)
        why = await self._contradiction(shown) if shown is not None else None
        if shown is not None and why is not None:
            try:
                await asyncio.to_thread(keep_evidence, self._folder, shown)
            except EdgeError as error:
                log.error("%s", error)
            self._alarm_fork(f"validator {name} shows a checkpoint of this log's key that contradicts this ledger: {why}")
        if standing.alarm is None:
            log.error("validator %s %s%s", name, what, "" if why else "; it shows no proof of that")
        standing.alarm = what
        self._failed(standing, Answer(Outcome.FORK, what))

    def _alarm_fork(self, why: str) -> None:
        if self.fork is None:
            log.critical("nothing of this ledger becomes final any more: %s", why)
        self.fork = why

    async def _contradiction(self, note: bytes) -> str | None:
        """Why a note that the log's key signed cannot be of this ledger; None when it is not signed, or agrees."""
        key = self._ledger.log
        try:
            return await self._differs(open_checkpoint(note, key, key.name).checkpoint)
        except ProofRefused:
            return None  # anybody can write such a note

    async def _differs(self, stated: Checkpoint) -> str | None:
        """Why a checkpoint is not one of this ledger."""
        head = self._ledger.head()
        if stated.size > head.size:
            return f"it states {stated.size} blocks, there are {head.size}"
        try:
            root = await self._ledger.publication.root(stated.size)
        except EdgeError as error:
            log.error("a checkpoint cannot be compared with the ledger: %s", error)
            return None
        return None if root == stated.root else f"it states another root for {stated.size} blocks"
