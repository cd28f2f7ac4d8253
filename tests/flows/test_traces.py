"""Traces of the whole edge, as a real OTLP receiver gets them: the trees that docs/tracing.md draws."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeproxy.telemetry import names
from edgeproxy.telemetry.recording import RecordingTracing
from tests.support.bodies import patterned
from tests.support.edge import ROOT, Answer, until
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan, Trace
from tests.support.raw_origin import free_port
from tests.support.scripted import PATIENCE, Fronted, fronted, page

KEEP = page("hello", Cache_Control="max-age=600", ETag='"a"')
STALE = page("hello", Cache_Control="max-age=60", Age="100", ETag='"a"')
CALLER = "0af7651916cd43dd8448eb211c80319c"
SERVER = "GET *"


def drawn_in_docs(sentence: str) -> str:
    """The first tree below the paragraph that begins with `sentence`, in the way `Trace.drawn` draws; the trees of other trace
    ids that stand beside it are left out."""
    text = (ROOT / "docs" / "tracing.md").read_text()
    found = re.search(rf"^{re.escape(sentence)}.*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the docs draw no tree for {sentence!r}"
    lines = []
    for line in found[1].splitlines():
        tree = re.match(r"([ │├└─]*)(\S.*?)  +(SERVER|CLIENT|INTERNAL)( !)?", line)
        if tree is None:
            continue
        depth = len(tree[1]) // 3
        if not depth and lines:
            break
        lines.append(f"{'  ' * depth}{tree[2].replace('GET shop', SERVER)} {tree[3]}{tree[4] or ''}")
    return "\n".join(lines)


@asynccontextmanager
async def traced(folder: Path, more: str = "", **options: str) -> AsyncIterator[tuple[Fronted, OtlpReceiver]]:
    """A site with the edge in front, and the receiver of its spans."""
    ways = {"/page": KEEP, "/stale": STALE, "/large": page(patterned(5_000_000), Cache_Control="max-age=600")}
    async with OtlpReceiver() as receiver:
        endpoint = f'otlp_endpoint = "{receiver.endpoint}"\n{more}'
        async with fronted(folder, ways, more=endpoint, **options) as it:
            yield it, receiver
        assert receiver.faults == []


async def trace_of(it: Fronted, receiver: OtlpReceiver, answer: Answer, count: int) -> Trace:
    """The spans of the exchange that `answer` came from, once there are `count` of them."""
    found = re.search(r'traceparent;desc="00-([0-9a-f]{32})-', answer["Server-Timing"])
    assert found is not None, "a sampled exchange tells its trace"
    await asyncio.to_thread(it.edge.tracing.flush)

    def there(spans: Sequence[ReceivedSpan]) -> bool:
        return sum(span.trace_id == found[1] for span in spans) >= count

    await receiver.until(there)
    return next(trace for trace in receiver.traces() if trace.trace_id == found[1])


def access_log(it: Fronted) -> list[dict[str, object]]:
    """The lines of the access log."""
    return [json.loads(line) for line in Path(it.edge.config.telemetry.access_log).read_text().splitlines()]


# --- the trees


async def test_a_miss(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with traced(tmp_path, access_log=str(log)) as (it, receiver):
        trace = await trace_of(it, receiver, await it.client.ask("/page"), 4)
        assert trace.drawn() == drawn_in_docs("A miss.")
        server, lookup, client = trace.named(SERVER), trace.named(names.LOOKUP), trace.named("GET")
        append = trace.named(names.APPEND)
        assert {name: server.attributes[name] for name in (names.PLAN, names.REASON, names.STATUS, names.CACHE_STATUS)} == {
            names.PLAN: "Fetch",
            names.REASON: "stored",
            names.STATUS: 200,
            names.CACHE_STATUS: "miss",
        }
        assert (lookup.attributes[names.PLAN], lookup.attributes[names.REASON]) == ("Fetch", "miss")
        assert client.attributes["http.response.status_code"] == 200
        # The origin got this very span as its parent.
        assert it.origin.last("/page").fields["traceparent"] == f"00-{trace.trace_id}-{client.span_id}-03"
        # The batch is a trace of its own, and both sides name each other.
        commit = (await receiver.trace(lambda spans: any(span.name == names.COMMIT for span in spans))).named(names.COMMIT)
        assert [link.span_id for link in commit.links] == [append.span_id]
        assert [link.span_id for link in append.links] == [commit.span_id]
        assert (append.attributes[names.BLOCK_OP], append.attributes[names.BLOCK_HEIGHT]) == ("store", 1)
        # Block and access log say the same trace.
        block = await it.edge.backend.ledger_show(1)
        assert block is not None
        assert block["block"]["trace"] == trace.trace_id
    assert [line["trace"] for line in access_log(it)] == [trace.trace_id]


async def test_a_hit_out_of_memory(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, receiver):
        await it.client.recorded("/page")
        answer = await it.client.ask("/page")
        trace = await trace_of(it, receiver, answer, 2)
        assert trace.drawn() == drawn_in_docs("A hit out of the memory tier")
        server, lookup = trace.named(SERVER), trace.named(names.LOOKUP)
        for span in (server, lookup):
            assert (span.attributes[names.PLAN], span.attributes[names.REASON]) == ("Serve", "fresh")
            assert span.attributes[names.BLOCK_HEIGHT] == 1
        assert (server.attributes[names.STATUS], server.attributes[names.RESPONSE_SIZE]) == (200, 5)
        assert server.attributes[names.CACHE_STATUS] == "hit"


async def test_a_hit_out_of_the_disk(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, _):
        await it.client.recorded("/page", headers={"Host": "a.test"})
    async with traced(tmp_path) as (it, receiver):
        trace = await trace_of(it, receiver, await it.client.ask("/page", headers={"Host": "a.test"}), 3)
        assert trace.drawn() == drawn_in_docs("A hit out of the disk")
        verify = trace.named(names.VERIFY)
        assert (verify.attributes[names.BODY_LENGTH], verify.attributes[names.BLOCK_HEIGHT]) == (5, 1)


async def test_a_large_body(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, receiver):
        await it.client.recorded("/large")
        trace = await trace_of(it, receiver, await it.client.ask("/large"), 3)
        assert trace.drawn() == drawn_in_docs("A large body")
        assert trace.named(names.VERIFY).attributes[names.BODY_LENGTH] == 5_000_000


async def test_a_stale_answer_on_a_dead_origin(tmp_path: Path) -> None:
    dead = f'http://127.0.0.1:{free_port()}", "http://127.0.0.1:{free_port()}'
    async with traced(tmp_path) as (it, _):
        await it.client.ask("/stale", headers={"Host": "a.test"})
        await it.edge.sequencer.flush()
    async with OtlpReceiver() as receiver, fronted(tmp_path, {}, more=f'otlp_endpoint = "{receiver.endpoint}"') as it:
        # The same data folder, and origins that nobody listens on.
        config = it.edge.config.path
        assert config is not None
        config.write_text(config.read_text().replace(it.origin.url, dead))
        assert await it.edge.reload() == []
        warm = await it.client.ask("/stale", headers={"Host": "a.test"})
        answer = await it.client.ask("/stale", headers={"Host": "a.test"})
        assert (answer.status, answer.body, warm.body) == (200, b"hello", b"hello")
        trace = await trace_of(it, receiver, answer, 4)
        assert trace.drawn() == drawn_in_docs("A stale answer on a dead origin")
        first, second = trace.all_named("GET")
        assert (first.attributes[names.TRY], second.attributes[names.TRY]) == (1, 2)
        assert second.attributes[names.RESEND_COUNT] == 1
        assert {span.attributes[names.ERROR_TYPE] for span in (first, second)} == {"ClientConnectorError"}
        server = trace.named(SERVER)
        assert (server.attributes[names.PLAN], server.attributes[names.REASON]) == ("ServeStale", "stale-origin-failed")
        assert (server.attributes[names.BLOCK_HEIGHT], server.attributes[names.STATUS]) == (1, 200)
        assert names.ERROR_TYPE not in server.attributes
        assert trace.named(names.LOOKUP).attributes[names.PLAN] == "Revalidate"


async def test_a_refresh_behind_is_a_trace_of_its_own_linked_to_its_cause(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, receiver):
        lines = {"Cache_Control": "max-age=60, stale-while-revalidate=600", "Age": "100", "ETag": '"a"'}
        it.origin.ways["/page"] = page("hello", **lines)
        await it.client.ask("/page")
        await it.edge.sequencer.flush()
        caused = await trace_of(it, receiver, await it.client.ask("/page"), 2)
        await it.origin.was_asked("/page", 2)
        refresh = await receiver.trace(
            lambda spans: {names.REVALIDATE, names.APPEND} <= {span.name for span in spans}, seconds=PATIENCE
        )
        assert refresh.drawn() == drawn_in_docs("A refresh in the background")
        (link,) = refresh.named(names.REVALIDATE).links
        assert (link.trace_id, link.span_id) == (caused.trace_id, caused.named(SERVER).span_id)
        assert refresh.named(names.APPEND).attributes[names.BLOCK_OP] == "refresh"


async def test_coalesced_exchanges_have_one_client_span_among_them(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, receiver):
        answers = await asyncio.gather(*(it.client.ask("/page") for _ in range(10)))
        traces = [await trace_of(it, receiver, answer, 2) for answer in answers]
        shared = [trace for trace in traces if trace.named(SERVER).attributes.get(names.COALESCED)]
        asked = it.origin.count("/page")
        assert len([trace for trace in traces if trace.all_named("GET")]) == asked
        assert all(not trace.all_named("GET") for trace in shared)


# --- who is sampled


async def test_the_caller_decides_and_the_ratio_for_all_others(tmp_path: Path) -> None:
    async with traced(tmp_path, more="sample_ratio = 0.000001") as (it, receiver):
        sampled = {"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"}
        unsampled = {"traceparent": "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
        await it.client.ask("/page", headers=unsampled)
        told = it.origin.last("/page").fields["traceparent"]
        assert told.startswith("00-1af7651916cd43dd8448eb211c80319c-"), "the origin joins the trace"
        assert told.endswith("-00")
        await it.client.ask("/page")
        for _ in range(2):
            answer = await it.client.ask("/page", headers=sampled)
            trace = await trace_of(it, receiver, answer, 2)
            assert trace.trace_id == CALLER
        assert {span.parent_id for span in trace.all_named(SERVER)} == {"b7ad6b7169203331"}
        assert {span.trace_id for span in receiver.spans} == {CALLER}


async def test_an_unsampled_hit_never_enters_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with traced(tmp_path, more="sample_ratio = 0.000001") as (it, receiver):
        await it.client.recorded("/page")
        await it.client.ask("/page")
        tracing = it.edge.tracing
        assert isinstance(tracing, RecordingTracing)
        entered: list[str] = []
        monkeypatch.setattr(tracing, "_tracer", None)
        monkeypatch.setattr(tracing, "server_span", lambda *given: entered.append("server_span"))
        before = it.edge.metrics.site("*").hits
        answers = [await it.client.ask("/page") for _ in range(50)]
        assert all(answer["Cache-Status"].startswith("edgeproxy;hit") for answer in answers)
        assert it.edge.metrics.site("*").hits == before + 50
        assert entered == []
        assert receiver.spans == []


async def test_a_sampled_request_is_not_answered_from_the_ready_answers_without_its_span(tmp_path: Path) -> None:
    async with traced(tmp_path) as (it, receiver):
        await it.client.recorded("/page")
        for _ in range(3):
            await trace_of(it, receiver, await it.client.ask("/page"), 2)


# --- a collector in trouble


@pytest.mark.parametrize("fault", ["refuses", "hangs", "answers 503"])
async def test_a_bad_collector_neither_slows_nor_breaks_serving(tmp_path: Path, fault: str) -> None:
    async with OtlpReceiver(status=503, hold=fault == "hangs") as receiver:
        endpoint = f"http://127.0.0.1:{free_port()}" if fault == "refuses" else receiver.endpoint
        async with fronted(tmp_path, {"/page": KEEP}, more=f'otlp_endpoint = "{endpoint}"') as it:
            await it.client.recorded("/page")
            # Whoever waited for a collector that hangs would not come to the end of this.
            async with asyncio.timeout(60):
                for number in range(300):
                    answer = await it.client.ask("/page" if number % 10 else f"/page?{number}")
                    assert (answer.status, answer.body) == (200, b"hello")

            async def tried() -> bool | None:
                return fault == "refuses" or receiver.posts > 0 or None

            await until(tried)
            assert (await it.client.ask("/page")).body == b"hello"
            began = time.monotonic()
        assert time.monotonic() - began < 30.0, "stopping does not wait for the collector"
