/**
 * Owns: how a URL becomes the key and the digest that a block carries. Must not fetch.
 *
 * The same normalisation as the edge's (edgeproxy/caching/key.py), on top of what the browser's parser did already.
 */
import {concat, sha256, utf8} from './digest.js'

/** A glob of a query parameter's name. A set, `[a-z]`, is left for the edge: the key is another one then, and nothing is found. @param {string} glob */
const pattern = glob => new RegExp(`^${glob.replace(/[\\^$.|+()[\]{}]/g, '\\$&').replace(/\?/g, '.').replace(/\*/g, '.*')}$`)

/**
 * `url`, absolute, as the ledger names it: no fragment, escapes in upper case, without ignored parameters.
 * @param {string} url
 * @param {string[]} [ignore] globs of parameters' names
 */
export function urlKey(url, ignore = []) {
  const {protocol, host, pathname, search} = new URL(url)
  // `search` has no question mark for an empty query; the edge keeps it.
  let query = search || (url.split('#', 1)[0].includes('?') ? '?' : '')
  if (query && ignore.length) {
    const globs = ignore.map(pattern)
    const all = query.slice(1).split('&')
    const kept = all.filter(each => !globs.some(glob => glob.test(each.split('=', 1)[0])))
    if (kept.length < all.length) query = kept.length ? `?${kept.join('&')}` : ''
  }
  const target = `${pathname}${query}`.replace(/%[0-9a-f]{2}/gi, escape => escape.toUpperCase())
  return `${protocol}//${host}${target}`
}

/** `url` of a block. @param {SubtleCrypto} subtle @param {import('./digest.js').Bytes} salt of the site @param {string} key */
export const urlDigest = (subtle, salt, key) => sha256(subtle, concat(salt, utf8(key)))
