"""One request after another for each log: judged, its new blocks looked at, written down, cosigned.

Owns: the order of these steps, and what is kept between requests. Must not speak HTTP, and decides nothing that `judge` or
`ledger.chain` decide.

 1. What can be read at all (400), and of which log it is (404).
 2. The log's signature (403). A key that is not known may be the log's next one: its own blocks tell.
 3. Does the tree go on from what was cosigned last (409, 422)?
 4. The new blocks, as the log publishes them: do they have the signed root (else 503), does each keep the rules (else 422)?
 5. Written down, durable, unless somebody else was faster (409). Only then is the cosignature given out.

All but 1 in the log's turn: one request at a time. What came with a true signature and was refused with 409 or 422 is evidence.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from edgeproxy.clock import Clock
from edgeproxy.errors import EdgeError, ProofRefused
from edgeproxy.ledger.chain import Chain
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.cosigning import SIZE_TYPE, monitoring_path
from edgeproxy.ledger.note_keys import Signer, Verifier, parse_verifier
from edgeproxy.ledger.notes import Note, SignatureLine, open_note
from edgeproxy.ledger.strict import encode_base64
from edgeproxy.tasks import spawn
from edgeproxy.validator.evidence import Evidence
from edgeproxy.validator.folder import KnownLog
from edgeproxy.validator.judge import Cosigned, Refusal, Signed, Submitted, follows, lines_of, read, signed_by, was_cosigned
from edgeproxy.validator.published import Published, Unpublished
from edgeproxy.validator.state import LogState, State

log = logging.getLogger("edgeproxy.validator")

T = TypeVar("T")

LOOK_SECONDS = 8.0
"""How long one request may fetch blocks; what it got through stays, and the next request goes on there."""
LOOK_BYTES = 128 << 20
MOST_WAITING = 8
"""Requests of one log that wait for their turn."""
SEARCH_SECONDS = 1.0
"""Between two searches of a log's blocks for a key that is not known: anybody may claim to have one."""
CLOSE_SECONDS = 3.0
KEPT_AT_ONCE = 8
"""Conflicts of one log that are kept as evidence at once, then one a second: anybody may make them, and each costs a flush."""
CLOCK_SLACK = 5
"""Seconds that the clock may be behind the newest cosignature; more, and nothing is cosigned."""
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `retry_after` in seconds."""

    status: int
    body: bytes
    media: str = TEXT
    retry_after: int | None = None


@dataclass(slots=True)
class _Log:
    """One log. `ahead` is the end of the blocks that were looked at beyond what is cosigned; no root vouches for it yet."""

    state: LogState
    source: Published
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    ahead: Chain | None = None
    search_at: float = 0.0
    kept: float = 0.0
    """Conflicts that were kept lately, less one for each second since `kept_at`."""
    kept_at: float = 0.0

    @property
    def cosigned(self) -> Cosigned:
        return Cosigned(self.state.size, self.state.root)


class _Refused(Exception):
    """Ends the steps with an answer."""

    def __init__(self, refusal: Refusal, **known: object) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.known = known


class Service:
    """Cosigns by `signer` what goes on from `state`. `open_source` makes the way to a log's blocks out of its address."""

    def __init__(
        self, signer: Signer, state: State, evidence: Evidence, clock: Clock, open_source: Callable[[str], Published]
    ) -> None:
        self.counts: dict[int, int] = {}
        """Answers by status since the start."""
        self._signer = signer
        self._state = state
        self._evidence = evidence
        self._clock = clock
        self._open_source = open_source
        self._logs: dict[str, _Log] = {}
        self._by_path: dict[str, _Log] = {}
        self._running: set[asyncio.Task[Reply]] = set()
        # The state is written by one thread: a step that began is finished, whoever stops waiting for it.
        self._writing = ThreadPoolExecutor(1, "validator-state")

    def __repr__(self) -> str:
        return f"<Service {self._signer.name} logs={len(self._logs)}>"

    async def close(self) -> None:
        """Let requests that are being judged come to their end, for a while, and finish what is being written."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
        await asyncio.to_thread(self._writing.shutdown)

    async def _written(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)

    async def validate(self, logs: Sequence[KnownLog]) -> None:
        """Validate exactly these logs from now on; what was cosigned for others stays written down. Raises StoreError."""
        chosen: dict[str, _Log] = {}
        for each in logs:
            origin, source = each.verifier.name, self._open_source(each.url)
            know = partial(self._state.know, origin, str(each.verifier))
            found = self._logs.get(origin)
            if found is None:
                found = _Log(await self._written(know), source)
            else:
                async with found.turn:
                    found.state, found.source = await self._written(know), source
            chosen[origin] = found
        self._logs = chosen
        self._by_path = {monitoring_path(origin): each for origin, each in chosen.items()}

    # --- monitoring ---

    def checkpoint(self, path: str) -> bytes | None:
        """The newest cosigned checkpoint of the log that `path` names; None for no such log, or when nothing was cosigned."""
        found = self._by_path.get(path)
        return found.state.note if found is not None else None

    # --- add-checkpoint ---

    async def add_checkpoint(self, body: bytes) -> Reply:
        """Answer one request."""
        reply = await self._answered(body)
        self.counts[reply.status] = self.counts.get(reply.status, 0) + 1
        return reply

    async def _answered(self, body: bytes) -> Reply:
        submitted = read(body)
        if isinstance(submitted, Refusal):
            return _refusing(submitted)
        found = self._logs.get(submitted.claimed.origin)
        if found is None:
            return _refusing(Refusal(404, "this log is not validated here"))
        if found.waiting >= MOST_WAITING:
            return Reply(503, b"too many requests for this log wait already\n", retry_after=1)
        found.waiting += 1
        # A client that goes away must not stop a step between the disk and the memory.
        task = spawn(self._in_turn(found, submitted, body), name="validator.request")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, found: _Log, submitted: Submitted, body: bytes) -> Reply:
        origin, size = found.state.origin, submitted.claimed.size
        try:
            async with found.turn:
                return await self._judged(found, submitted)
        except _Refused as refused:
            refusal = refused.refusal
            if refusal.status in (409, 422):
                log.log(logging.ERROR if refusal.status == 422 or refusal.fork else logging.INFO,
                        "%s, size %d: refused with %d: %s", origin, size, refusal.status, refusal.text.strip())  # fmt: skip
                await self._keep(found, size, body, refused)
            return _refusing(refusal)
        except Unpublished as error:
            log.warning("%s, size %d: not cosigned yet: %s", origin, size, error)
            return Reply(503, f"{error}\n".encode(), retry_after=1)
        except EdgeError as error:
            log.error("%s, size %d: not cosigned: %s", origin, size, error)
            return Reply(503, f"{error.text}\n".encode(), retry_after=5)
        finally:
            found.waiting -= 1

    async def _judged(self, found: _Log, submitted: Submitted) -> Reply:
        note, claimed = submitted.note, submitted.claimed
        key = await self._signing_key(found, submitted)
        self._check_memory(found, note, claimed)
        if (refusal := follows(submitted, found.cosigned)) is not None:
            raise _Refused(refusal)
        after = await self._after(found, claimed, key)
        now = self._time()
        message = note.message
        own = SignatureLine(self._signer.name, self._signer.key_id, self._signer.sign(message, now))
        kept = Note(note.text, (*lines_of(note, key), own)).encode()
        after = replace(after, cosigned=now, note=kept)
        before = found.state
        if not await self._written(lambda: self._state.advance(before, after)):
            found.ahead = None
            found.state = next(each for each in await self._written(self._state.logs) if each.origin == before.origin)
            raise _Refused(Refusal(409, f"{found.state.size}\n", found.state.size))
        found.state, found.ahead = after, None
        return Reply(200, str(own).encode())

    def _check_memory(self, found: _Log, note: Note, claimed: Checkpoint) -> None:
        """Our own cosignature over what we do not remember: the state is older than it was, and not to be relied on."""
        known = found.cosigned
        unknown = claimed.size > known.size or (claimed.size == known.size and claimed.root != known.root)
        if unknown and was_cosigned(note, self._signer.verifier):
            log.critical("%s: this validator has cosigned size %d and does not remember it; its state is not its own, "
                         "retire its key", claimed.origin, claimed.size)  # fmt: skip
            raise EdgeError("this validator has lost its state and must be retired")

    # --- keys and blocks ---

    async def _signing_key(self, found: _Log, submitted: Submitted) -> Verifier:
        """The key of the log that signed. Raises `_Refused` (403), `Unpublished`."""
        key = parse_verifier(found.state.key)
        signed = signed_by(submitted.note, key)
        if isinstance(signed, Refusal):
            raise _Refused(signed)
        return key if signed is Signed.BY_LOG else await self._successor(found, submitted)

    async def _successor(self, found: _Log, submitted: Submitted) -> Verifier:
        """The key that the blocks up to this size hand over to, when it signed."""
        unknown = _Refused(Refusal(403, "checkpoint is not signed by the log's key, nor by one that it was handed over to"))
        now = self._clock.monotonic()
        if submitted.claimed.size <= found.state.size or now < found.search_at:
            raise unknown
        found.search_at = now + SEARCH_SECONDS
        chain = await self._looked_at(found, submitted.claimed.size)
        key = parse_verifier(_key_after(found.state, chain))
        try:
            open_note(submitted.note, (key,))
        except ProofRefused:
            raise unknown from None
        found.search_at = 0.0
        return key

    async def _after(self, found: _Log, claimed: Checkpoint, key: Verifier) -> LogState:
        """The state at the checkpoint, its blocks looked at. Raises `_Refused`, `Unpublished`."""
        if claimed.size == found.state.size:
            return found.state
        chain = await self._looked_at(found, claimed.size)
        if chain.root() != claimed.root:
            # The root is signed and follows from what was cosigned; so what was sent to us as blocks is not what was signed.
            found.ahead = None
            raise Unpublished("the blocks that the log publishes do not have the root of its checkpoint", size=claimed.size)
        if (fault := chain.fault) is not None:
            text = f"block {fault.height} breaks a rule of the chain: {fault}"
            raise _Refused(Refusal(422, text, fork=True), height=fault.height, block=encode_base64(fault.raw))
        if _key_after(found.state, chain) != str(key):
            raise _Refused(Refusal(403, "the log has handed over to another key than the one that signed"))
        return found.state.at(chain, str(key))

    async def _looked_at(self, found: _Log, size: int) -> Chain:
        """The chain up to `size`, of published blocks. Raises `Unpublished`, and what was got through stays in `ahead`."""
        chain, source = found.ahead, found.source
        if chain is None or chain.size > size:
            chain = found.ahead = found.state.chain()
        enough = source.received + LOOK_BYTES
        try:
            async with asyncio.timeout(LOOK_SECONDS), aclosing(source.blocks(chain.size, size)) as blocks:
                async for some in blocks:
                    for raw in some:
                        chain.take(raw)
                    if chain.size < size and source.received > enough:
                        raise TimeoutError
                    await asyncio.sleep(0)
        except TimeoutError:
            raise Unpublished("still looking at the blocks", got_to=chain.size, size=size) from None
        return chain

    # --- time and evidence ---

    def _time(self) -> int:
        """Of a cosignature, in POSIX seconds: never before the one before it. Raises EdgeError."""
        now, last = int(self._clock.seconds()), self._state.time
        if now < last - CLOCK_SLACK or now <= 0:
            raise EdgeError("clock of the validator is behind its own cosignatures", now=now, newest=last)
        return max(now, last)

    async def _keep(self, found: _Log, size: int, body: bytes, refused: _Refused) -> None:
        """Evidence is on the disk before the answer; when it cannot be, the answer is no other."""
        refusal, state = refused.refusal, found.state
        if not refusal.fork and not self._may_keep(found):
            return
        why = {
            "status": refusal.status,
            "why": refusal.text.strip(),
            "time": int(self._clock.seconds()),
            "cosigned": {"size": state.size, "root": encode_base64(state.root), "note": state.note and state.note.decode()},
            **refused.known,
        }
        try:
            path = await self._written(lambda: self._evidence.keep(state.origin, size, body, why, fork=refusal.fork))
        except EdgeError as error:
            log.error("%s", error)
            return
        if path is not None:
            log.log(logging.ERROR if refusal.fork else logging.INFO, "evidence is in %s", path)

    def _may_keep(self, found: _Log) -> bool:
        now = self._clock.monotonic()
        found.kept, found.kept_at = max(0.0, found.kept - (now - found.kept_at)), now
        if found.kept > KEPT_AT_ONCE - 1:
            return False
        found.kept += 1
        return True


def _key_after(state: LogState, chain: Chain) -> str:
    """The log's verifier key at the end of a chain that goes on from `state`. Raises `_Refused`."""
    if chain.key is None:
        return state.key
    if state.size == 0 and state.key != chain.key and state.key not in chain.handed_over:
        raise _Refused(Refusal(403, "the log's blocks hand over between keys of which none is trusted here"))
    return chain.key


def _refusing(refusal: Refusal) -> Reply:
    if refusal.size is not None:
        return Reply(refusal.status, refusal.text.encode(), SIZE_TYPE)
    return Reply(refusal.status, f"{refusal.text}\n".encode())
