"""Spans on their way out: OTLP over HTTP from a thread of its own, with a bounded queue.

Owns: the limits that keep a dead or slow collector away from serving: how much is queued, how long a post may take, how often the
trouble is said, how long stopping may take. Must not be called on the event loop except to build and to stop.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import environ
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

QUEUE_SPANS: Final = 4096
BATCH_SPANS: Final = 256
"""Small, because encoding a batch holds the interpreter lock: a few milliseconds for 256 spans."""
EVERY_MILLISECONDS: Final = 1000
POST_SECONDS: Final = 3.0
QUIET_SECONDS: Final = 60.0

_NOISY: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.trace",
)


class OncePerMinute(logging.Filter):
    """Lets one record through a minute for all the loggers that it is put on, and says how many it kept back before it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._next = -1.0
        self._kept_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._monotonic()
        if now < self._next:
            self._kept_back += 1
            return False
        self._next = now + QUIET_SECONDS
        if self._kept_back:
            record.msg = f"{record.msg} ({self._kept_back} more kept back)"
            self._kept_back = 0
        return True


_quiet = OncePerMinute()


def otlp_processor(endpoint: str, variables: Mapping[str, str] = environ) -> BatchSpanProcessor:
    """A processor that posts protobuf to `endpoint`. OTEL_BSP_* and OTEL_EXPORTER_OTLP_* variables win over our limits."""
    for name in _NOISY:
        logging.getLogger(name).addFilter(_quiet)  # the same filter twice is once
    timed = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" in variables or "OTEL_EXPORTER_OTLP_TIMEOUT" in variables
    exporter = OTLPSpanExporter(endpoint, timeout=None if timed else POST_SECONDS)
    return BatchSpanProcessor(
        exporter,
        max_queue_size=None if "OTEL_BSP_MAX_QUEUE_SIZE" in variables else QUEUE_SPANS,
        schedule_delay_millis=None if "OTEL_BSP_SCHEDULE_DELAY" in variables else EVERY_MILLISECONDS,
        max_export_batch_size=None if "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in variables else BATCH_SPANS,
    )


@dataclass(frozen=True, slots=True)
class Sending:
    """Posts spans, blocking, and says whether they arrived; `close` ends a post that is under way."""

    send: Callable[[Sequence[ReadableSpan]], bool]
    close: Callable[[], None]


def otlp_exporter(endpoint: str, variables: Mapping[str, str] = environ) -> Sending:
    """The way to `endpoint` without a queue, under the same limits and variables as `otlp_processor`."""
    for name in _NOISY:
        logging.getLogger(name).addFilter(_quiet)
    timed = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" in variables or "OTEL_EXPORTER_OTLP_TIMEOUT" in variables
    exporter = OTLPSpanExporter(endpoint, timeout=None if timed else POST_SECONDS)
    return Sending(lambda spans: exporter.export(spans) is SpanExportResult.SUCCESS, exporter.shutdown)


async def stop_provider(provider: TracerProvider, limit: float) -> None:
    """Shut `provider` down in a daemon thread and wait at most `limit` seconds, so that neither this nor the exit of the process
    hangs on a collector that does not answer. What is not out by then is lost."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finished() -> None:
        if not done.done():
            done.set_result(None)

    def shut_down() -> None:
        provider.shutdown()
        with contextlib.suppress(RuntimeError):  # the loop closed: nobody waits any more
            loop.call_soon_threadsafe(finished)

    threading.Thread(target=shut_down, name="edgeproxy-spans-stop", daemon=True).start()
    await asyncio.wait([done], timeout=limit)
