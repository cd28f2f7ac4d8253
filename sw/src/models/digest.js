/**
 * Owns: bytes, their strict spellings (base64, decimals, lines), and SHA-256. Must not know what they mean.
 *
 * A value has one spelling; every other one is refused, so that no two readers understand the same bytes differently.
 */
import {attempt, must} from './refused.js'

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true})

/** @param {string} text @returns {Bytes} */
export const utf8 = text => encoder.encode(text)

/** Strict UTF-8. @param {Bytes} bytes @param {string} [code] @returns {string} */
export const decodeUtf8 = (bytes, code) => attempt(() => decoder.decode(bytes), code)

/** @param {string} text @param {string} [code] @returns {any} */
export const parseJson = (text, code) => attempt(() => JSON.parse(text), code)

/**
 * One JSON object in canonical form with these keys; else `Refused`. Order, spaces, escapes, repeated keys: none of them survives this.
 * @param {string} text @param {string} keys parted by spaces @param {string} code @returns {any}
 */
export function parseCanonical(text, keys, code) {
  const said = parseJson(text, code)
  must(said && JSON.stringify(said) === text && Object.keys(said).join(' ') === keys, code)
  return said
}

/** @param {ArrayLike<number>[]} parts @returns {Bytes} */
export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) at += (all.set(part, at), part.length)
  return all
}

/** @param {Bytes} bytes @returns {string} */
export const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')

/** Byte n is the character U+00n; for up to 64 KiB. @param {Bytes} bytes @returns {string} */
export const latin1 = bytes => String.fromCharCode(...bytes)

/** Of base64, standard alphabet, padded, with no leniency: missing padding, stray characters and idle bits are refused. @param {unknown} text @returns {Bytes} */
export function fromBase64(text) {
  const plain = attempt(() => atob(/** @type {string} */ (text)))
  must(btoa(plain) === text)
  return Uint8Array.from(plain, each => each.charCodeAt(0))
}

/** 32 bytes. @param {unknown} text @returns {Bytes} */
export function fromHash(text) {
  const bytes = fromBase64(text)
  must(bytes.length === 32)
  return bytes
}

/** A plain decimal that a double keeps exactly. @param {string} text @returns {number} */
export function decimal(text) {
  must(/^(?:0|[1-9][0-9]{0,15})$/.test(text) && Number.isSafeInteger(+text))
  return +text
}

/** Lines of a text, each ended by one line feed, without control characters. @param {Bytes} bytes @param {number} most @returns {string[]} */
export function lines(bytes, most) {
  must(bytes.length <= most)
  const text = decodeUtf8(bytes)
  // eslint-disable-next-line no-control-regex
  must(text.endsWith('\n') && !/[\0-\x09\x0b-\x1f]/.test(text))
  return text.slice(0, -1).split('\n')
}

/** Of digests. @param {Bytes} a @param {Bytes} b */
export const same = (a, b) => hex(a) === hex(b)

/** @param {SubtleCrypto} subtle @param {Bytes} bytes @returns {Promise<Bytes>} */
export const sha256 = async (subtle, bytes) => new Uint8Array(await subtle.digest('SHA-256', bytes))
