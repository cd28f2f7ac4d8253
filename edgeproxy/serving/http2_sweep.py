"""What of an HTTP/2 connection and its streams is overdue. Decides; the connection acts.

Owns: which time-out belongs to what. The time is passed in, as monotonic seconds; what is remembered between sweeps is on the
stream.
"""

from enum import Enum, auto

from edgeproxy.serving.http2_stream import Http2Stream
from edgeproxy.serving.settings import Timeouts


class Overdue(Enum):
    """What the client did not do in time."""

    BODY = auto()
    """Send more of the body that an exchange waits for."""
    TUNNEL = auto()
    """Move a byte through the tunnel, nor did the other end."""


def is_idle_too_long(waited: float, timeouts: Timeouts, *, fresh: bool) -> bool:
    """Whether a connection on which nothing runs has had its time. `fresh`: it never asked for anything."""
    return waited > (min(timeouts.head, timeouts.idle) if fresh else timeouts.idle)


def judge_stream(stream: Http2Stream, now: float, timeouts: Timeouts) -> Overdue | None:
    """What of `stream` is overdue at `now`; notes how far it has come."""
    body = stream.body
    progress = body.received + stream.bytes_sent
    # A body that waits for its reader, or for our go-ahead, is not the client's to hurry.
    is_due = stream.tunnelled or not (body.ended or body.failed or stream.continue_due or body.waiting)
    if progress != stream.progress or not is_due:
        stream.progress, stream.progress_since = progress, now
        return None
    waited = now - stream.progress_since
    if stream.tunnelled:
        return Overdue.TUNNEL if waited > timeouts.tunnel else None
    return Overdue.BODY if waited > timeouts.body else None
