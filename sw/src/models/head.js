/**
 * Owns: a stored head (edgeproxy/wire/http1.py, `encode_stored_head`) and what its fields say about keeping and age. Must not make a response.
 */
import {latin1} from './digest.js'
import {must} from './refused.js'

const HEAD = /^HTTP\/1\.1 (\d{3}) [^\r\n\0]*\r\n((?:[^\r\n\0: ]+: [^\r\n\0]*\r\n)*)$/

/** Status and fields. @param {import('./digest.js').Bytes} bytes @returns {{status: number, headers: Headers}} */
export function parseHead(bytes) {
  const found = HEAD.exec(latin1(bytes))
  must(found, 'head')
  const headers = new Headers()
  for (const [, name, value] of found[2].matchAll(/(.+?): (.*)\r\n/g)) headers.append(name, value)
  return {status: +found[1], headers}
}

/** @param {Headers} headers */
const cacheControl = headers => headers.get('cache-control') ?? ''

/** Seconds for which a stored response is fresh (RFC 9111 section 4.2.1), 0 when nothing says so. @param {Headers} headers */
function lifetime(headers) {
  const said = cacheControl(headers)
  const found = /s-maxage="?(\d+)/i.exec(said) ?? /max-age="?(\d+)/i.exec(said)
  if (found) return +found[1]
  const until = Date.parse(headers.get('expires') ?? '') - Date.parse(headers.get('date') ?? '')
  return until > 0 ? until / 1000 : 0
}

/** Seconds since the edge got it. @param {number} time of the block, ms @param {number} now ms */
export const kept = (time, now) => Math.max(0, Math.floor((now - time) / 1000))

/** Seconds since the origin made it. @param {Headers} headers @param {number} time of the block, ms @param {number} now ms */
export const age = (headers, time, now) => kept(time, now) + (parseInt(headers.get('age') ?? '') || 0)

/**
 * Why a proven copy may not be served now, or empty.
 * @param {Headers} headers
 * @param {number} time of the block, ms
 * @param {number} now ms
 * @param {number} maxStale seconds past its freshness
 * @param {boolean} override against the origin's directives
 */
export function unusable(headers, time, now, maxStale, override) {
  const said = cacheControl(headers)
  // One visitor's own pages must never come out of a shared store, whoever proves them.
  if (/\b(?:no-store|private)\b(?!=)/i.test(said) || /\*|cookie|authorization/i.test(headers.get('vary') ?? '')) return 'private'
  // Ten minutes are left to clocks.
  if (time > now + 600_000) return 'future'
  const stale = age(headers, time, now) - lifetime(headers)
  if (stale > maxStale) return 'too-old'
  return stale > 0 && !override && /\b(?:must-revalidate|proxy-revalidate|no-cache)\b(?!=)/i.test(said) ? 'must-revalidate' : ''
}
