"""One attempt to get one certificate: the authorities in turn, and what is remembered of it.

Owns: which authorities may be asked, the order in which they are, and the record after success and failure. Must not decide when
an attempt begins (`tls.decisions`), nor store or serve anything.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from edgeproxy.clock import Clock
from edgeproxy.errors import CertificateFault, IssuanceFailed, Retry
from edgeproxy.tls import backoff
from edgeproxy.tls.certificate import Certificate, is_staging, parse_certificate
from edgeproxy.tls.records import MOST_UNFINISHED, Failure, Record
from edgeproxy.tls.schedule import Life, Window

_POINTLESS: Final = frozenset((Retry.OPERATOR, Retry.OTHER_CA))


class IssuedLike(Protocol):
    """What an authority gave: PEM chain and key, and the directory it came from (`tls.acme.issuer.Issued`)."""

    @property
    def chain(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def directory(self) -> str: ...
    @property
    def failed_names(self) -> tuple[str, ...]: ...


class IssuerLike(Protocol):
    """One authority with one account (`tls.acme.issuer.Issuer`)."""

    @property
    def directory(self) -> str:
        """Its URL."""
        ...

    async def obtain(self, names: Sequence[str], *, replaces: bytes | None = None) -> IssuedLike:
        """A certificate for `names`; raises `IssuanceFailed`. `replaces`: PEM chain of the one that is renewed."""
        ...

    async def renewal_info(self, chain: bytes) -> Window | None:
        """What the authority suggests for `chain`; None when it suggests nothing. Raises `IssuanceFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class Failed:
    """What one authority answered instead of a certificate."""

    directory: str
    time: float
    error: IssuanceFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: a certificate, or why each of the authorities gave none."""

    certificate: Certificate | None
    failures: tuple[Failed, ...]
    spent: tuple[str, ...] = ()
    """Names whose validation failed before it succeeded in another way."""

    @property
    def failed_names(self) -> tuple[str, ...]:
        """Names whose validation failed in this attempt, each as often as it did."""
        return tuple(name for one in self.failures for name in one.error.failed_names) + self.spent

    @property
    def words(self) -> str:
        """All answers in one line."""
        return "; ".join(f"{one.directory}: {one.error.problem}: {one.error.detail}" for one in self.failures) or "nobody to ask"

    @property
    def error(self) -> IssuanceFailed:
        """The answer of the last authority."""
        return self.failures[-1].error if self.failures else IssuanceFailed("blocked", "no authority may be asked now")


def may_be_asked(directory: str, record: Record, held: Certificate | None, now: float) -> bool:
    """The authority has not asked to be left alone, and what it would give may take the place of `held`.

    A staging authority is not asked while a valid certificate that clients trust is held: the vault would refuse to store it.
    """
    return record.blocked.get(directory, 0.0) <= now and is_welcome(directory, held, now)


def is_welcome(directory: str, held: Certificate | None, now: float) -> bool:
    """See `may_be_asked`; without the time that the authority asked for."""
    return not (is_staging(directory) and held is not None and not held.is_trial and held.is_valid(now))


async def ask_in_turn(
    names: Sequence[str],
    issuers: Iterable[IssuerLike],
    held: Certificate | None,
    record: Record,
    failed: Mapping[str, Sequence[float]],
    clock: Clock,
    seconds: float,
) -> Outcome:
    """Ask one authority after the other until one issues, each for up to `seconds`.

    Whatever one of them answers, the next one is asked: it may be in better health, know another way to the name, or be the one
    that CAA allows. Only failed validations end an attempt early, when one more would exceed the budget of a name.
    """
    failures: list[Failed] = []
    for issuer in issuers:
        now = clock.seconds()
        if not may_be_asked(issuer.directory, record, held, now):
            continue
        if backoff.free_at(failed, names, now) > now:
            break
        # Only its own authority knows the certificate that is renewed (RFC 9773 section 5).
        replaces = held.chain if held is not None and held.directory == issuer.directory else None
        try:
            async with asyncio.timeout(seconds):
                certificate, spent = await _ask(issuer, names, replaces, now)
        except TimeoutError:
            failures.append(Failed(issuer.directory, clock.seconds(), IssuanceFailed("timeout", "no certificate in time")))
        except IssuanceFailed as error:
            failed = backoff.count_failed(failed, error.failed_names, clock.seconds())
            failures.append(Failed(issuer.directory, clock.seconds(), error))
        else:
            return Outcome(certificate, tuple(failures), spent)
    return Outcome(None, tuple(failures))


async def _ask(
    issuer: IssuerLike, names: Sequence[str], replaces: bytes | None, now: float
) -> tuple[Certificate, tuple[str, ...]]:
    try:
        issued = await issuer.obtain(names, replaces=replaces)
        certificate = parse_certificate(issued.chain, issued.key, directory=issued.directory)
    except (IssuanceFailed, TimeoutError, asyncio.CancelledError):
        raise
    except CertificateFault as error:
        raise IssuanceFailed("badCertificate", str(error)) from error
    except Exception as error:  # a bug in the driver of one authority must not keep the next one from being asked
        raise IssuanceFailed("internal", repr(error)[:500]) from error
    if not certificate.covers(names):
        raise IssuanceFailed("badCertificate", f"issued for {', '.join(certificate.names)[:400]}")
    if certificate.not_after <= now:
        raise IssuanceFailed("badCertificate", "issued with its end in the past")
    return certificate, issued.failed_names


def begun(record: Record, now: float, draw: float) -> Record:
    """The record to keep before an authority is asked, in case the process dies in the attempt.

    It is tried again at once, but not for ever: an edge that an order kills each time would ask at each start.
    """
    unfinished = record.unfinished + 1
    excess = unfinished - MOST_UNFINISHED
    wait_until = now + backoff.wait_after(excess, draw) if excess > 0 else record.next_attempt
    return msgspec.structs.replace(record, unfinished=unfinished, next_attempt=wait_until)


def succeeded(record: Record, now: float) -> Record:
    """The record after a certificate arrived."""
    return Record(last_success=now, last_failure=record.last_failure)


def failed_attempt(
    record: Record, failures: Sequence[Failed], directories: Sequence[str], life: Life | None, now: float, draw: float
) -> Record:
    """The record after an attempt in which no authority issued. `directories`: all that are configured.

    An authority that named a time is left alone until then, one that needs a person or refuses on principle for a day; the next
    attempt comes when the usual wait is over and at least one of them may be asked.
    """
    blocked = {directory: until for directory, until in record.blocked.items() if until > now}
    for one in failures:
        if one.error.not_before is not None:
            blocked[one.directory] = min(one.error.not_before, now + backoff.LONGEST_REQUEST)
        elif one.error.retry in _POINTLESS:
            blocked[one.directory] = now + backoff.wait_after(1, draw, pointless=True)
    free = min((blocked.get(directory, 0.0) for directory in directories), default=0.0)
    count = record.failures + 1
    last = failures[-1] if failures else None
    return msgspec.structs.replace(
        record,
        failures=count,
        unfinished=0,
        next_attempt=backoff.next_attempt(now, backoff.wait_after(count, draw), life=life, not_before=free),
        last_failure=_failure(last) if last else record.last_failure,
        blocked=blocked,
        waiting_since=None,
    )


def _failure(failed: Failed) -> Failure:
    return Failure(failed.time, failed.directory, failed.error.problem, failed.error.detail)


def store_failed(record: Record, detail: str, now: float) -> Record:
    """The record after an attempt that ended at our own disk, before an authority was asked: again in a minute, however often."""
    return msgspec.structs.replace(
        record, unfinished=0, next_attempt=now + backoff.STEPS[0], last_failure=Failure(now, "", "storage", detail[:500])
    )
