/**
 * Owns: signed notes (C2SP signed-note) and the Ed25519 keys that sign them: which lines count, and whether they hold.
 * That a pinned key is a sound one (no point of small order) was checked by the edge before it pinned it.
 *
 * A line whose (name, key ID) is not known is ignored; one that is known must verify, or nothing of the note is believed.
 */
import {concat, fromBase64, hex, lines, sha256, utf8} from './digest.js'
import {must} from './refused.js'

/** @typedef {import('./digest.js').Bytes} Bytes */
/** @typedef {{name: string, kind: number, id: string, raw: string, key: CryptoKey}} Verifier kind: 1 signs notes, 4 cosigns; key ID and key in hex */
/** @typedef {{name: string, id: string, blob: Bytes}} Line */
/** @typedef {{text: string, signatures: Line[]}} Note */
/** @typedef {{verifier: Verifier, time: number | null}} Vouched time in seconds since the epoch, of a cosignature */

const MOST = 1 << 19
const MOST_SIGNATURES = 100
/** The key in a vkey, `<name>+<key ID>+<base64 of type and key>`; else `Refused`. @param {SubtleCrypto} subtle @param {string} vkey @returns {Promise<Verifier>} */
export async function parseVerifier(subtle, vkey) {
  const found = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey)
  must(found, 'note')
  const [, name, given, encoded] = found
  const data = fromBase64(encoded)
  const kind = data[0]
  const raw = data.subarray(1)
  must((kind === 1 || kind === 4) && raw.length === 32, 'note')
  const id = hex(await sha256(subtle, concat(utf8(`${name}\n`), data))).slice(0, 8)
  must(id === given, 'note')
  return {name, kind, id, raw: hex(raw), key: await subtle.importKey('raw', raw, 'Ed25519', true, ['verify'])}
}

/** What a note says, unverified; else `Refused`. @param {Bytes} data @returns {Note} */
export function parseNote(data) {
  const all = lines(data, MOST)
  const empty = all.lastIndexOf('')
  must(empty > 0, 'note')
  const rest = all.slice(empty + 1)
  must(rest.length && rest.length <= MOST_SIGNATURES, 'note')
  const signatures = rest.map(parseLine)
  const seen = new Set(signatures.map(({name, id}) => `${name} ${id}`))
  must(seen.size === signatures.length, 'note')
  return {text: all.slice(0, empty).map(line => `${line}\n`).join(''), signatures}
}

/** @param {string} line @returns {Line} */
function parseLine(line) {
  const found = /^\u2014 ([^+\s]+) (.+)$/.exec(line)
  must(found, 'note')
  const blob = fromBase64(found[2])
  must(blob.length > 4, 'note')
  return {name: found[1], id: hex(blob.subarray(0, 4)), blob: blob.subarray(4)}
}

/**
 * Who of `verifiers` signed, in the order of the lines; at least one, else `Refused`.
 * @param {SubtleCrypto} subtle @param {Note} note @param {Verifier[]} verifiers @returns {Promise<Vouched[]>}
 */
export async function openNote(subtle, note, verifiers) {
  const vouched = []
  for (const line of note.signatures) {
    const verifier = verifiers.find(each => each.name === line.name && each.id === line.id)
    if (verifier) vouched.push({verifier, time: await verify(subtle, verifier, note.text, line.blob)})
  }
  must(vouched.length, 'unsigned')
  return vouched
}

/** @param {SubtleCrypto} subtle @param {Verifier} verifier @param {string} text @param {Bytes} blob @returns {Promise<number | null>} */
async function verify(subtle, verifier, text, blob) {
  const isCosignature = verifier.kind === 4
  must(blob.length === (isCosignature ? 72 : 64), 'signature')
  const time = isCosignature ? new DataView(blob.buffer, blob.byteOffset).getBigUint64(0) : null
  must(time === null || time < 1n << 63n, 'signature')
  const message = utf8(time === null ? text : `cosignature/v1\ntime ${time}\n${text}`)
  must(await subtle.verify('Ed25519', verifier.key, blob.subarray(-64), message), 'signature')
  return time === null ? null : Number(time)
}
