/** Spans by hand: the same shape as OpenTelemetry's own serializer gives, and ids that join the edge's trace. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {JsonTraceSerializer} from '@opentelemetry/otlp-transformer'
import {encodeSpans, fromServerTiming, startTrace} from '../../src/models/trace.js'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

function traced(...parent) {
  let now = 1_764_000_000_000.25
  const trace = startTrace(() => (now += 1.5), 'edge.sw.recover', ...parent)
  const step = trace.start('edge.sw.edge', true)
  trace.end(step, {}, 'TypeError: fetch failed')
  trace.end(trace.start('edge.sw.cache', false), {'edge.found': 'true'})
  trace.start('edge.sw.mirror', true)
  trace.end(trace.root, {'edge.cause': 'network', 'edge.block': 7})
  return {trace, step}
}

test('the shape is that of the official serializer', () => {
  const {trace} = traced(TRACE, SPAN)
  const made = encodeSpans(trace.spans, 'www.example.org', '1')
  const [root, step] = made.resourceSpans[0].scopeSpans[0].spans
  const time = nanoseconds => [Math.floor(Number(BigInt(nanoseconds) / 1_000_000_000n)), Number(BigInt(nanoseconds) % 1_000_000_000n)]
  const resource = {attributes: {}, getRawAttributes: () => []}
  const instrumentationScope = {name: 'edgeproxy.sw', version: '1'}
  const official = (span, attributes, kind, parent) => ({
    name: span.name,
    kind,
    spanContext: () => ({traceId: span.traceId, spanId: span.spanId, traceFlags: 1}),
    parentSpanContext: {traceId: span.traceId, spanId: parent, traceFlags: 1},
    startTime: time(span.startTimeUnixNano),
    endTime: time(span.endTimeUnixNano),
    status: span.status.code ? span.status : {code: 0},
    attributes,
    links: [],
    events: [],
    duration: [0, 0],
    ended: true,
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0
  })
  const spans = [official(root, {'edge.cause': 'network', 'edge.block': 7}, 1, SPAN), official(step, {}, 2, root.spanId)]
  const theirs = JSON.parse(new TextDecoder().decode(JsonTraceSerializer.serializeRequest(spans)))
  const expected = theirs.resourceSpans[0].scopeSpans[0].spans
  for (const [at, span] of [root, step].entries()) {
    for (const name of ['traceId', 'spanId', 'parentSpanId', 'name', 'kind', 'startTimeUnixNano', 'endTimeUnixNano', 'flags']) {
      assert.deepEqual(span[name], expected[at][name], `${name} of ${span.name}`)
    }
    assert.equal(span.status.code ?? 0, expected[at].status.code)
    // A number is a string in one and a number in the other: both are right in protobuf's JSON.
    const plain = list => list.map(({key, value}) => [key, String(Object.values(value)[0]), Object.keys(value)[0]])
    assert.deepEqual(plain(span.attributes), plain(expected[at].attributes))
  }
})

test('a span whose source lost the race ends with the root', () => {
  const spans = encodeSpans(traced().trace.spans, 'x', '1').resourceSpans[0].scopeSpans[0].spans
  assert(spans.every(span => /^\d{19}$/.test(span.endTimeUnixNano)))
  assert.equal(spans[3].endTimeUnixNano, spans[0].endTimeUnixNano)
})

test('ids: of the edge when it named one, else new ones', () => {
  const {trace, step} = traced(TRACE, SPAN)
  assert(trace.spans.every(span => span.traceId === TRACE))
  assert.equal(trace.root.parentSpanId, SPAN)
  assert.equal(trace.traceparent(step), `00-${TRACE}-${step.spanId}-01`)
  const own = traced().trace
  assert.match(own.root.traceId, /^[0-9a-f]{32}$/)
  assert.equal(own.root.parentSpanId, '')
  assert.notEqual(own.root.traceId, traced().trace.root.traceId)
})

for (const [header, found] of [
  [`edge;dur=1, traceparent;desc="00-${TRACE}-${SPAN}-01"`, [TRACE, SPAN]],
  [`traceparent;desc=00-${TRACE}-${SPAN}-00, x`, [TRACE, SPAN]],
  [`traceparent;desc="ff-${TRACE}-${SPAN}-01"`, []],
  [`traceparent;desc="00-${'0'.repeat(32)}-${SPAN}-01"`, []],
  [`traceparent;desc="00-${TRACE}-${'0'.repeat(16)}-01"`, []],
  [`traceparent;desc="00-${TRACE.toUpperCase()}-${SPAN}-01"`, []],
  [`xtraceparent;desc="00-${TRACE}-${SPAN}-01"`, []],
  ['', []]
]) {
  test(`Server-Timing: ${header.slice(0, 40)}`, () => assert.deepEqual(fromServerTiming(header), found))
}
