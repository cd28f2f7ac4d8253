/**
 * Owns: the spans of one recovery, their ids (W3C Trace Context), and OTLP/HTTP JSON by hand. Must not send.
 *
 * Hex ids, 64-bit numbers as strings: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
import {hex} from './digest.js'

/** @typedef {Record<string, string | number>} Attributes numbers are whole */
/** @typedef {{traceId: string, spanId: string, parentSpanId: string, name: string, kind: number, startTimeUnixNano: string, [field: string]: unknown}} Span as OTLP has it */
/** @typedef {ReturnType<typeof startTrace>} Trace */

const INTERNAL = 1
const SERVER = 2
const CLIENT = 3
const SAMPLED = 257

const PARENT = /(?:^|,)\s*traceparent;\s*desc="?(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}/

/** The trace and span that the edge named in `Server-Timing`. @param {string} value @returns {[traceId: string, spanId: string] | []} */
export function fromServerTiming(value) {
  const found = PARENT.exec(value)
  return found ? [found[1], found[2]] : []
}

/** @param {number} bytes */
const randomHex = bytes => hex(crypto.getRandomValues(new Uint8Array(bytes)))

/** @param {number} ms */
const nanoseconds = ms => `${Math.round(ms * 1000)}000`

/** @param {Attributes} attributes */
const encodeAttributes = attributes =>
  Object.entries(attributes).map(([key, value]) => ({key, value: typeof value === 'string' ? {stringValue: value} : {intValue: String(value)}}))

/**
 * The spans of one request of a page, below `root`, in the trace of the edge when its answer named one.
 * @param {() => number} now ms, monotonic @param {string} name of the root
 */
export function startTrace(now, name, traceId = randomHex(16), parent = '') {
  /** @type {Span[]} */
  const spans = []

  /** @param {string} name @param {number} kind @param {string} parentSpanId @returns {Span} */
  function add(name, kind, parentSpanId) {
    const span = {traceId, spanId: randomHex(8), parentSpanId, name, kind, startTimeUnixNano: nanoseconds(now()), flags: SAMPLED}
    spans.push(span)
    return span
  }
  const root = add(name, SERVER, parent)

  return {
    spans,
    root,

    /** Begin a span below the root. @param {string} name @param {boolean} isClient whether it asks somebody else */
    start: (name, isClient) => add(name, isClient ? CLIENT : INTERNAL, root.spanId),

    /** @param {Span} span @param {Attributes} attributes @param {string} [message] what went wrong */
    end(span, attributes, message) {
      const status = message ? {code: 2, message} : {}
      Object.assign(span, {endTimeUnixNano: nanoseconds(now()), attributes: encodeAttributes(attributes), status})
    },

    /** For a request that `span` makes. @param {Span} span */
    traceparent: span => `00-${traceId}-${span.spanId}-01`
  }
}

/** An ExportTraceServiceRequest. A span that never ended (its source lost the race) ends with the root, the first. @param {Span[]} spans @param {string} site @param {string} version */
export function encodeSpans(spans, site, version) {
  const attributes = encodeAttributes({'service.name': 'edgeproxy-sw', 'service.version': version, 'edge.site': site})
  const {endTimeUnixNano} = spans[0]
  const ended = spans.map(span => ({endTimeUnixNano, ...span}))
  return {resourceSpans: [{resource: {attributes}, scopeSpans: [{scope: {name: 'edgeproxy.sw', version}, spans: ended}]}]}
}
