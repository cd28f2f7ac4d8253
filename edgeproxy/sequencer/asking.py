"""One question to one validator (C2SP tlog-witness), and what its answer means.

Owns: the HTTP of it, bounded in bytes and time, the meaning of each status, and how long to wait after a failure. Must not decide
who is asked when, or what is final; that is `sequencer.validators`.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp

from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.cosigning import MAX_ANSWER, monitoring_path, parse_size
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.ledger.notes import MAX_NOTE, SignatureLine, parse_signature_lines

ASK_SECONDS = 15.0
CONNECT_SECONDS = 3.0
FUTURE_SECONDS = 30
PAST_SECONDS = 300
"""A cosignature whose time is further from ours than these says that a clock is wrong, and does not count."""

FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
_WORDS = 300


class Outcome(StrEnum):
    """What came of a question; for metrics and the operator."""

    COSIGNED = "cosigned"
    ELSEWHERE = "elsewhere"
    """It has cosigned another size than we believed: asked again from there."""
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    """It cannot say yet: it does not see the blocks, or has too much to do."""
    REFUSED = "refused"
    INVALID = "invalid"
    """An answer that is no answer: a signature that does not verify, of another key, with an impossible time."""
    GONE_BACK = "gone_back"
    """It names less than it has cosigned before."""
    FORK = "fork"
    """It says that this ledger contradicts what it has cosigned."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A validator as configured. `name` is that of the policy; `ca_file` (PEM) is trusted instead of the system's authorities."""

    name: str
    verifier: Verifier
    url: str
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a validator said. `size` goes with `ELSEWHERE`, `line` and `time` (POSIX seconds) with `COSIGNED`."""

    outcome: Outcome
    problem: str | None = None
    size: int = 0
    line: SignatureLine | None = None
    time: int = 0
    retry_after: float | None = None


def meaning(status: int, body: bytes, retry_after: str | None) -> Answer | None:
    """What an answer with this status means; None for a 200, which has a cosignature to be verified."""
    said = body[:_WORDS].decode("utf-8", "replace").strip()
    match status:
        case 200:
            return None
        case 409:
            try:
                return Answer(Outcome.ELSEWHERE, size=parse_size(body))
            except ProofRefused as error:
                return Answer(Outcome.INVALID, f"409 without a size: {error.text}")
        case 422:
            return Answer(Outcome.FORK, f"422: {said}")
        case 429 | 502 | 503 | 504:
            seconds = min(float(retry_after), LONGEST_WAIT) if retry_after and retry_after.isdecimal() else None
            return Answer(Outcome.BUSY, f"{status}: {said}", retry_after=seconds)
        case _:
            return Answer(Outcome.REFUSED, f"{status}: {said}")


def cosignature(asked: Asked, message: bytes, body: bytes, now: float) -> Answer:
    """The cosignature of exactly this validator over `message`, among the lines of `body`; verified."""
    try:
        lines = parse_signature_lines(body)
        mine = [line for line in lines if (line.name, line.key_id) == (asked.verifier.name, asked.verifier.key_id)]
        if not mine:
            return Answer(Outcome.INVALID, "answer has no cosignature of the validator's key")
        time = asked.verifier.verify(message, mine[0].blob)
    except ProofRefused as error:
        return Answer(Outcome.INVALID, f"cosignature: {error.text}")
    if time is None or not now - PAST_SECONDS <= time <= now + FUTURE_SECONDS:
        off = "" if time is None else f": it is {time - now:+.0f} s from ours"
        return Answer(Outcome.INVALID, f"cosignature has a time that cannot be{off}")
    return Answer(Outcome.COSIGNED, line=mine[0], time=time)


def wait_after(failures: int, chance: Callable[[], float]) -> float:
    """Seconds until the next question after so many failures in a row. `chance`: from 0 to 1, so that not all come at once."""
    return float(min(FIRST_WAIT * 2 ** min(failures - 1, 16), LONGEST_WAIT)) * (0.75 + 0.5 * chance())


def trust(asked: Asked) -> ssl.SSLContext | bool:
    """Whom to believe who the validator is. Raises StartError."""
    if asked.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(asked.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise StartError("authorities of a validator cannot be read", path=asked.ca_file, why=str(error)) from error


class Line:
    """The way to one validator. `session` is shared by all."""

    def __init__(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        """Raises StartError."""
        self._session = session
        self._asked = asked
        self._url = asked.url.rstrip("/")
        self._tls = trust(asked)

    async def submit(self, request: bytes, message: bytes, seconds: Callable[[], float]) -> Answer:
        """Ask for a cosignature over `message`, the text of the checkpoint in `request`. `seconds`: the wall clock."""
        options = {"data": request, "headers": {"Content-Type": "application/octet-stream"}}
        got = await self._exchange("POST", f"{self._url}/add-checkpoint", MAX_ANSWER, **options)
        if isinstance(got, Answer):
            return got
        status, body, retry_after = got
        return meaning(status, body, retry_after) or cosignature(self._asked, message, body, seconds())

    async def newest(self, origin: str) -> bytes | None:
        """The note that the validator shows as its newest of a log; None when it shows none."""
        got = await self._exchange("GET", f"{self._url}/{monitoring_path(origin)}", MAX_NOTE)
        return got[1] if not isinstance(got, Answer) and got[0] == 200 else None

    async def _exchange(self, method: str, url: str, most: int, **options: object) -> tuple[int, bytes, str | None] | Answer:
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.request(
                method, url, ssl=self._tls, allow_redirects=False, timeout=timeout, **options  # type: ignore[arg-type]
            ) as response:  # fmt: skip
                body = bytearray()
                async for piece in response.content.iter_chunked(8192):
                    body += piece
                    if len(body) > most:
                        return Answer(Outcome.INVALID, "answer is too long")
                return response.status, bytes(body), response.headers.get("Retry-After")
        except TimeoutError:
            return Answer(Outcome.UNREACHABLE, "no answer in time")
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return Answer(Outcome.UNREACHABLE, _reason(error))


def _reason(error: Exception) -> str:
    """Why there is no connection, without the library's own words around it."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError():
            return "connection ended without an answer"
        case _:
            return str(error) or type(error).__name__
