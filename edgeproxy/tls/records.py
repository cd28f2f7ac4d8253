"""What is remembered between attempts and across restarts: a record for each name set, and the failed validations of each name.

Owns: the two, and their bytes (JSON, one object). What cannot be read counts as nothing: the worst that follows is one attempt
that comes too early. Times are Unix seconds.
"""

from collections.abc import Mapping

import msgspec

from edgeproxy.tls.schedule import Suggestion

MOST_UNFINISHED = 2
"""Attempts in a row that may end with the process before they count as failures."""


class Failure(msgspec.Struct, frozen=True):
    """How an attempt failed, with the authority's own words."""

    time: float
    directory: str
    """URL of the authority; empty when no authority was asked."""
    problem: str
    detail: str


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """State of one name set; replaced, never changed."""

    failures: int = 0
    """Failed attempts in a row."""
    unfinished: int = 0
    """Attempts that were begun, and of which nothing is known: the process died in them."""
    next_attempt: float = 0.0
    last_success: float | None = None
    last_failure: Failure | None = None
    blocked: dict[str, float] = {}
    """By directory URL: until when this authority asked not to be asked."""
    waiting_since: float | None = None
    """Since when the self check defers the first attempt."""
    suggestion: Suggestion | None = None
    suggestion_for: str = ""
    """Fingerprint of the certificate that `suggestion` and `ask_after` are about."""
    ask_after: float = 0.0


def encode(record: Record) -> bytes:
    """The bytes to keep."""
    return msgspec.json.encode(record)


def decode(data: bytes | None) -> Record:
    """What `encode` was given; an empty record for anything else."""
    if data is None:
        return Record()
    try:
        return msgspec.json.decode(data, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Record()


Failed = dict[str, tuple[float, ...]]
"""Failed validations by name, in whatever name sets it was asked for: an authority counts by name, and so does `tls.backoff`."""


def encode_failed(failed: Mapping[str, tuple[float, ...]]) -> bytes:
    """The bytes to keep."""
    return msgspec.json.encode(failed)


def decode_failed(data: bytes | None) -> Failed:
    """What `encode_failed` was given; nothing for anything else."""
    if data is None:
        return {}
    try:
        return msgspec.json.decode(data, type=Failed)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
