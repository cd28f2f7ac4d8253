"""The task of one exchange: run its handler, and settle whatever the handler leaves behind.

Owns: what a client gets when answering fails. Before the head: a page; after it: a visible truncation.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving.connections import log
from edgeproxy.serving.stream import Handler, Stream


class RunnableStream(Stream, Protocol):
    """A stream that knows whether its answer is over."""

    over: bool


S = TypeVar("S", bound=RunnableStream)


def internal_error() -> RequestRefused:
    """What a client is told of a bug of ours."""
    return RequestRefused("internal error", status=500)


async def run_exchange(handler: Handler, stream: S, give_up: Callable[[S, RequestRefused], None]) -> None:
    """Answer `stream`. `give_up` is called with what to tell the client when its answer was not finished; never after `over`."""
    try:
        await handler.answer(stream)
    except ClientGone:
        stream.abort()
    except RequestRefused as error:
        _settle(stream, error, give_up)
    except asyncio.CancelledError:
        stream.abort()
        raise
    except Exception:  # a bug in answering ends this exchange only
        log.exception("exchange failed")
        _settle(stream, internal_error(), give_up)
    else:
        if not stream.over:
            log.error("exchange left without an end")
            _settle(stream, internal_error(), give_up)


def _settle(stream: S, error: RequestRefused, give_up: Callable[[S, RequestRefused], None]) -> None:
    if stream.head_sent:
        stream.abort()
    elif not stream.over:
        stream.over = True
        give_up(stream, error)
