"""Requests and stored responses for the tables of tests/unit/caching."""

from edgeproxy.caching.freshness import initial_age
from edgeproxy.caching.model import Digest, Height, Mark, Policy, Selecting, StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request, ResponseHead

NOW = Instant(1_764_000_000_000)
POLICY = Policy()
NO_MARK = Mark.NONE
URL = "http://example.org/a"


def http_date(offset: int = 0) -> str:
    """An HTTP-date `offset` seconds from `NOW`."""
    return format_http_date(NOW // 1000 + offset)


def after(seconds: float) -> Instant:
    return Instant(NOW + round(seconds * 1000))


def fields(text: str) -> Fields:
    """Field lines written as "Name: value | Name: value"; `{+60}` and `{-60}` in them are dates relative to `NOW`."""
    lines = []
    for line in filter(None, (part.strip() for part in text.split("|"))):
        name, _, value = line.partition(":")
        value = value.strip()
        if value.startswith("{") and value.endswith("}"):
            value = http_date(int(value[1:-1]))
        lines.append((name, value))
    return Fields(lines)


def request(
    text: str = "", *, method: str = "GET", target: str = "/a", body_length: int = 0, upgrade: str | None = None
) -> Request:
    return Request(method, target, "example.org", "example.org", (1, 1), fields(text), body_length=body_length, upgrade=upgrade)


def response(text: str = "", status: int = 200) -> ResponseHead:
    return ResponseHead(status, fields(text))


def stored(
    text: str = "", status: int = 200, *, selecting: Selecting = (), height: int | None = 1, length: int = 10
) -> StoredResponse:
    """A response that arrived at `NOW`, without delay."""
    found = fields(text)
    return StoredResponse(
        url=URL,
        status=status,
        fields=found,
        response_time=NOW,
        initial_age=initial_age(found, NOW, NOW),
        body=Digest(b"\0" * 32),
        length=length,
        selecting=selecting,
        height=None if height is None else Height(height),
    )
