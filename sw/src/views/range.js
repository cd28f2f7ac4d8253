/**
 * Owns: a part of a body that is there as a whole (RFC 9110 section 14). Must not know where it came from.
 */

/**
 * The whole for no range, for several, and for what cannot be read; else 206 or 416.
 * @param {string | null} range value of `Range` @param {import('../models/digest.js').Bytes} body @param {Headers} headers of the whole
 */
export function slice(range, body, headers) {
  const {length} = body
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(range ?? '') ?? []
  headers.set('accept-ranges', 'bytes')
  if ((!from && !to) || (from && to && +to < +from)) return new Response(body, {headers})
  const first = from ? +from : Math.max(0, length - +to)
  const last = Math.min(from && to ? +to : length, length - 1)
  const isThere = first <= last
  headers.set('content-range', `bytes ${isThere ? `${first}-${last}` : '*'}/${length}`)
  return new Response(isThere ? body.subarray(first, last + 1) : null, {status: isThere ? 206 : 416, headers})
}
