/**
 * Owns: the proof of one stored response, from bytes to `Proven`, in the order of edgeproxy/ledger/evidence.py. Must not fetch, keep or serve.
 *
 * It proves that the log whose key is pinned had this block, and that URL, head and body are the block's own. It does not prove that
 * nothing newer exists: that is for `checkpoint.mayFollow`, `head.unusable` and the caller's own memory.
 */
import {parseBlock} from './block.js'
import {openCheckpoint} from './checkpoint.js'
import {decimal, decodeUtf8, fromBase64, fromHash, hex, lines, parseJson, same, sha256, utf8} from './digest.js'
import {parseHead} from './head.js'
import {leafHash, verifyInclusion} from './merkle.js'
import {must} from './refused.js'
import {urlDigest} from './url.js'

/** @typedef {import('./digest.js').Bytes} Bytes */
/** @typedef {{block: string, proof: string, head: string}} Envelope as the block API answers: base64, text, base64 */
/** @typedef {{entry: import('./block.js').Stored, headers: Headers, checkpoint: import('./checkpoint.js').Checkpoint, root: string}} Proven */
/** @typedef {{key: string, salt: Bytes, trust: import('./checkpoint.js').Trust, now: number}} Question `key` of the URL that was asked for; `salt` where the proof names none; now in ms */
/** @typedef {{selecting: [string, string | null][], salt: Bytes}} Clear the values behind a block's digests */

const FIRST = 'c2sp.org/tlog-proof@v1'
const MOST = (1 << 19) + (1 << 18)

/** A tlog-proof, unverified; else `Refused`. @param {string} text */
export function parseProof(text) {
  const all = lines(utf8(text), MOST)
  const empty = all.indexOf('')
  must(all[0] === FIRST && empty > 0, 'proof')
  const rest = all.slice(1, empty)
  const extra = rest[0]?.startsWith('extra ') ? fromBase64(/** @type {string} */ (rest.shift()).slice(6)) : null
  const index = rest.shift()
  must(index && index.startsWith('index ') && rest.length <= 63, 'proof')
  return {
    extra,
    index: decimal(index.slice(6)),
    path: rest.map(fromHash),
    note: utf8(all.slice(empty + 1).map(line => `${line}\n`).join(''))
  }
}

/** Block, URL, variant and head; the body is `proveBody`'s. Rejects with `Refused`. @param {SubtleCrypto} subtle @param {Envelope} envelope @param {Question} question @returns {Promise<Proven>} */
export async function proveBlock(subtle, envelope, {key, salt, trust, now}) {
  const raw = fromBase64(envelope.block)
  const proof = parseProof(envelope.proof)
  const checkpoint = await openCheckpoint(subtle, proof.note, trust, now)
  await verifyInclusion(subtle, proof.index, checkpoint.size, await leafHash(subtle, raw), proof.path, checkpoint.root)
  const entry = parseBlock(raw)
  must(entry.height === proof.index, 'height')
  const clear = parseClear(proof.extra, salt)
  must(same(await urlDigest(subtle, clear.salt, key), entry.url), 'url')
  must(same(await sha256(subtle, utf8(JSON.stringify(clear.selecting))), entry.variant), 'variant')
  // What was selected by a cookie or a password is one visitor's own.
  must(!clear.selecting.some(([name]) => name === 'cookie' || name === 'authorization'), 'private')
  const bytes = fromBase64(envelope.head)
  must(same(await sha256(subtle, bytes), entry.head), 'head')
  const {status, headers} = parseHead(bytes)
  // A coded body would not be decoded: a response that a worker makes is taken as it is.
  must(status === entry.status && status === 200 && !headers.has('content-encoding'), 'status')
  return {entry, headers, checkpoint, root: hex(checkpoint.root)}
}

/**
 * `extra` of a proof. Nobody signs it, and nobody needs to: no other values have the digests that are in the block, as long as a salt
 * has its one length.
 * @param {Bytes | null} extra @param {Bytes} salt @returns {Clear}
 */
function parseClear(extra, salt) {
  if (!extra) return {selecting: [], salt}
  const said = parseJson(decodeUtf8(extra, 'variant'), 'variant')
  must(Array.isArray(said?.selecting) && said.selecting.every(Array.isArray), 'variant')
  return {selecting: said.selecting, salt: fromHash(said.salt)}
}

/** @param {SubtleCrypto} subtle @param {import('./block.js').Stored} entry @param {Bytes} body */
export async function proveBody(subtle, entry, body) {
  must(body.length === entry.length && same(await sha256(subtle, body), entry.body), 'body')
}
