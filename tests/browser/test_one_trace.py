"""One outage, one trace: what browser, edge and origin tell a real collector of it belongs together."""

from collections.abc import Sequence
from pathlib import Path

from tests.support.chromium import chromium
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.support.parts import need
from tests.support.scripted import fronted, page
from tests.support.traced_origin import SPAN, traced
from tests.support.worker_pages import CONTROLLED, STATE, keeps

ON = '[site.service_worker]\nmode = "on"\n'
HTML = "<!doctype html><html><head><title>a page</title></head><body>a page</body></html>"
# Nothing stands in for it at the edge once its origin fails.
FIELDS = {"Content_Type": "text/html", "Cache_Control": "public, max-age=0, s-maxage=0", "ETag": '"1"'}
FLUSH = "navigator.serviceWorker.controller.postMessage({type: 'edge:flush'})"


async def test_browser_edge_and_origin_are_one_trace(tmp_path: Path) -> None:
    need("chromium")
    async with OtlpReceiver() as receiver, chromium(tmp_path) as browser:
        config = f'otlp_endpoint = "{receiver.endpoint}"'
        with traced(receiver.endpoint) as tracer:
            way = tracer(page(HTML, **FIELDS))
            async with fronted(tmp_path, {"/page": way}, site=ON, more=config) as it:
                url = f"{it.client.base}/page"
                await browser.open(url)
                await browser.until(CONTROLLED)
                await browser.until(keeps(url))
                # All is well: the origin's span is below the edge's try, in the trace that the page is told.
                timing = await browser.ask(
                    "performance.getEntriesByType('navigation')[0].serverTiming.find(e => e.name === 'traceparent').description"
                )
                trace_id, edge_span = timing.split("-")[1:3]
                await receiver.trace(lambda spans: spans[0].trace_id == trace_id and edge_span in above(spans, SPAN))

                # The origin fails, and so does what this browser kept: the worker gets a proved copy from the edge's block API.
                it.origin.ways["/page"] = tracer(page("broken", status=503))
                await browser.ask("caches.delete('edge-sw-blocks-1')")
                await browser.open(url)
                assert await browser.ask(STATE) == "recovered"
                assert await browser.ask("document.querySelector('[data-edge-source]').dataset.edgeSource") == "edge"
                await browser.ask(FLUSH)
                await receiver.trace(is_whole)


def is_whole(spans: Sequence[ReceivedSpan]) -> bool:
    """Browser below edge, origin below edge, and what the browser asked of the edge below the browser: nothing is missing."""
    by_name = {span.name: span for span in spans}
    recover, asked = by_name.get("edge.sw.recover"), by_name.get("edge.sw.edge")
    if recover is None or asked is None or asked.parent_id != recover.span_id:
        return False
    shown = next((span for span in spans if span.span_id == recover.parent_id), None)
    if shown is None or (shown.kind, shown.attributes["http.response.status_code"]) != ("SERVER", 503):
        return False
    of_api = {span.attributes.get("url.path", "") for span in spans if span.parent_id == asked.span_id}
    # The body need not be asked for: it is immutable, and this browser has had it.
    return "/.edge/api/v1/blocks" in of_api and shown.span_id in above(spans, SPAN) and by_name[SPAN].failed


def above(spans: Sequence[ReceivedSpan], name: str) -> list[str]:
    """The ids above the span of this name, nearest first; none when it is not there."""
    known = {each.span_id: each for each in spans}
    span = next((each for each in spans if each.name == name), None)
    found: list[str] = []
    while span is not None and (span := known.get(span.parent_id)) is not None:
        found.append(span.span_id)
    return found
