"""One client span for each try at an origin, from OpenTelemetry's own instrumentation of aiohttp.

Owns: how that instrumentation is set up for us: current semantic conventions, secrets out of the URL, nothing made for an
exchange that is not recorded, and the attributes that only the edge knows. Must not patch aiohttp: the config is handed to one
session.
"""

from types import SimpleNamespace

import aiohttp
from opentelemetry import trace
from opentelemetry.instrumentation._semconv import _StabilityMode  # the one way to the stable names without patching globally
from opentelemetry.instrumentation.aiohttp_client import create_trace_config
from opentelemetry.sdk.trace import TracerProvider
from yarl import URL

from edgeproxy.origin.messages import Attempt
from edgeproxy.telemetry import names
from edgeproxy.telemetry.redaction import redacted_url
from edgeproxy.telemetry.tracing import current_span


def client_trace_config(provider: TracerProvider) -> aiohttp.TraceConfig:
    """For `ClientSession(trace_configs=[...])`. The caller's `trace_request_ctx` may be an `Attempt`; try 2 and above
    also count as `http.request.resend_count`.

    The instrumentation takes the parent from the current context, makes its span current, and writes `traceparent` (and
    `tracestate`) over what the headers hold; it ends the span with the response head, so a body that breaks later shows on the
    parent. In an exchange that is not recorded it is not entered: the header alone is written, with the flag off, so that the
    origin joins the same trace id. Outside of any exchange nothing is done.
    """
    config = create_trace_config(url_filter=_shown_url, tracer_provider=provider, sem_conv_opt_in_mode=_StabilityMode.HTTP)
    instrumented = list(config.on_request_start)
    config.on_request_start.clear()

    async def start(session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        span = current_span()
        if span is None:
            return
        if not span.sampled:
            params.headers["traceparent"] = span.traceparent
            return
        for each in instrumented:
            await each(session, context, params)
        _describe(trace.get_current_span(), context)

    config.on_request_start.append(start)
    config.on_connection_reuseconn.append(_reused)
    config.on_connection_create_end.append(_created)
    return config


def _shown_url(url: URL) -> str:
    return redacted_url(str(url))


def _describe(span: trace.Span, context: SimpleNamespace) -> None:
    attempt = context.trace_request_ctx
    if not isinstance(attempt, Attempt):
        return
    span.set_attributes({names.ORIGIN: attempt.origin, names.TRY: attempt.number})
    if attempt.number > 1:
        span.set_attribute(names.RESEND_COUNT, attempt.number - 1)


async def _reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams) -> None:
    if context.span is not None:
        context.span.set_attribute(names.CONNECTION_REUSED, True)


async def _created(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateEndParams) -> None:
    if context.span is not None:
        context.span.set_attribute(names.CONNECTION_REUSED, False)
