"""Tracing that is off: no SDK, nothing recorded, and still a trace id."""

import asyncio
import re
import subprocess
import sys

import pytest

from edgeproxy.telemetry import names
from edgeproxy.telemetry.trace_settings import NEVER, Sampling, TracingSettings
from edgeproxy.telemetry.tracing import Span, Tracing, current_span, open_tracing
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Peer:
    address = "192.0.2.1"
    port = 4711
    local = ("127.0.0.1", 8080)


def request(*lines: tuple[str, str]) -> Request:
    return Request("GET", "/a?b=1", "shop.example", "shop.example", (1, 1), Fields(lines))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(TracingSettings(None, Sampling(1.0), "e", "n", {}), id="no endpoint"),
        pytest.param(TracingSettings("http://127.0.0.1:9/", NEVER, "e", "n", {}), id="ratio 0"),
    ],
)
def test_without_endpoint_or_ratio_tracing_is_off(settings: TracingSettings) -> None:
    tracing = open_tracing(settings)
    assert type(tracing) is Tracing
    assert not tracing.enabled
    assert tracing.trace_configs() == []
    assert not tracing.samples_hit(request(("traceparent", PARENT)))


def test_off_never_imports_the_sdk() -> None:
    program = (
        "import sys; from edgeproxy.telemetry.tracing import open_tracing; "
        "from edgeproxy.telemetry.trace_settings import tracing_settings; "
        "open_tracing(tracing_settings(endpoint=None, sample_ratio=1, node='n', environ={})); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_trace_id_is_the_callers_or_made_once() -> None:
    tracing = Tracing()
    assert tracing.server_span(request(("Traceparent", PARENT)), Peer(), "shop").trace_id == TRACE
    span = tracing.server_span(request(("traceparent", "nonsense")), Peer(), "shop")
    assert re.fullmatch(r"[0-9a-f]{32}", span.trace_id)
    assert span.trace_id == span.trace_id
    assert span.trace_id != tracing.server_span(request(), Peer(), "shop").trace_id


def test_the_traceparent_handed_on_says_not_sampled_and_names_this_hop() -> None:
    span = Tracing().server_span(request(("traceparent", PARENT)), Peer(), "shop")
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", span.traceparent)
    assert span.traceparent == span.traceparent
    assert "b7ad6b7169203331" not in span.traceparent
    assert Span().traceparent.endswith("-02"), "a trace id of our own is random, and says so"


def test_every_method_of_the_handle_is_there_and_does_nothing() -> None:
    span = Span()
    with span.child(names.LOOKUP, {names.PLAN: "fetch"}) as child:
        child.set(names.REASON, "miss")
    child = span.start_child(names.APPEND)
    child.update({names.BLOCK_HEIGHT: 1})
    child.fail(ValueError("no"))
    child.end()
    span.end(200, size=1)
    assert not span.sampled


def test_off_gives_handles_for_background_append_and_commit() -> None:
    tracing = Tracing()
    assert not tracing.background_span(names.REVALIDATE, None, "shop").sampled
    assert not tracing.append_span(Span(), object()).sampled
    with tracing.commit_span([object()]):
        pass


async def test_a_task_spawned_in_a_current_block_knows_its_span() -> None:
    span = Span()

    async def seen() -> Span | None:
        return current_span()

    with span.current():
        task = asyncio.get_running_loop().create_task(seen())
    assert current_span() is None
    assert await task is span
