/**
 * Owns: what a store or refresh block says, read as strictly as the ledger writes it (edgeproxy/ledger/block.py).
 */
import {decodeUtf8, fromHash, parseCanonical} from './digest.js'
import {must} from './refused.js'

/** @typedef {import('./digest.js').Bytes} Bytes */
/**
 * @typedef {object} Stored
 * @property {number} height
 * @property {number} time ms since the epoch
 * @property {Bytes} url
 * @property {Bytes} variant
 * @property {number} status
 * @property {Bytes} head
 * @property {Bytes} body
 * @property {number} length bytes
 */

const KEYS = 'v height prev time node op url variant status head body length chunks trace'
const MOST = 65535
const WHOLE = 262144

/** The block in `raw`; `Refused` for bytes that the ledger would not have written, and for blocks that store nothing. @param {Bytes} raw @returns {Stored} */
export function parseBlock(raw) {
  must(raw.length <= MOST, 'too-long')
  const said = parseCanonical(decodeUtf8(raw, 'block'), KEYS, 'block')
  const {v, height, time, op, status, length, chunks} = said
  must(v === 1 && (op === 'store' || op === 'refresh') && [height, time, status, length].every(each => Number.isSafeInteger(each) && each >= 0), 'block')
  must((length > WHOLE) === (chunks !== null), 'block')
  return {
    height,
    time,
    status,
    length,
    url: fromHash(said.url),
    variant: fromHash(said.variant),
    head: fromHash(said.head),
    body: fromHash(said.body)
  }
}
