/**
 * Owns: how a proven copy becomes a Response. It is always built anew: what comes out says that it was recovered, and how old it is.
 */
import {age, kept} from '../models/head.js'
import {allowScripts, nonceOf} from './csp.js'
import {withTag} from './html.js'
import {slice} from './range.js'

/** @typedef {import('../models/digest.js').Bytes} Bytes */
/** @typedef {import('../models/evidence.js').Proven & {body: Bytes, source: 'cache' | 'edge' | 'mirror'}} Found */

/** Of one connection, of another form of the body, or of another visitor. */
const LEFT_OUT =
  /^(?:connection|transfer-encoding|set-cookie|content-length|.*digest|vary|clear-site-data)$/

/** @param {Found} found @param {Request} request @param {number} now ms @param {'extend' | 'respect'} csp @param {string} origin of the page */
export function recovered({entry, headers: stored, body: raw, source}, {destination, headers: asked}, now, csp, origin) {
  const headers = new Headers(stored)
  for (const name of [...headers.keys()]) if (LEFT_OUT.test(name)) headers.delete(name)
  let body = raw
  if (destination === 'document' && /^text\/html\b/i.test(stored.get('content-type') ?? '')) {
    const policy = 'content-security-policy'
    const nonce = nonceOf(stored.get(policy))
    body = withTag(raw, source, entry.time, nonce)
    headers.delete('etag')
    for (const name of csp === 'extend' ? [policy, `${policy}-report-only`] : []) {
      const value = stored.get(name)
      if (value) headers.set(name, allowScripts(value, `${origin}/.edge/ui/`))
    }
  }
  headers.set('age', String(age(stored, entry.time, now)))
  headers.set('x-edge-recovery', source)
  headers.set('x-edge-age', String(kept(entry.time, now)))
  // A part of another version is of no use to anybody.
  const condition = asked.get('if-range')
  const isCurrent = !condition || condition === headers.get('etag') || condition === headers.get('last-modified')
  return slice(isCurrent ? asked.get('range') : null, body, headers)
}
