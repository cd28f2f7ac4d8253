/**
 * Owns: the signed control document, which of two counts, and what it means for this client. Must not fetch or keep one.
 *
 * A signed note of three lines: `<origin>/control`, `edgeproxy-control/v1`, one JSON object in canonical form.
 */
import {fromHash, lines, parseCanonical, utf8} from './digest.js'
import {openNote, parseNote} from './note.js'
import {must} from './refused.js'

/** @typedef {import('./digest.js').Bytes} Bytes */
/** @typedef {'on' | 'observe' | 'bypass' | 'kill'} Mode */
/** @typedef {{quorum: number, keys: string[]}} Validators */
/**
 * @typedef {object} Control
 * @property {string} origin of the log whose key signed it
 * @property {string} text that was signed
 * @property {number} serial
 * @property {number} issued ms since the epoch
 * @property {Mode} mode
 * @property {number} percent of clients for which `mode` holds; the others bypass
 * @property {string} site
 * @property {string} salt base64
 * @property {number} max_stale seconds
 * @property {string[]} mirrors
 * @property {Validators | null} validators
 */

const MOST = 65536
const KEYS = 'serial issued mode percent site salt max_stale mirrors validators'
const MODES = ['on', 'observe', 'bypass', 'kill']

/** The document in `data`, signed by one of `logs`; else `Refused`. @param {SubtleCrypto} subtle @param {Bytes} data @param {import('./note.js').Verifier[]} logs @returns {Promise<Control>} */
export async function openControl(subtle, data, logs) {
  const note = parseNote(data)
  const [vouched] = await openNote(subtle, note, logs)
  const [first, second, json, more] = lines(utf8(note.text), MOST)
  must(vouched.verifier.kind === 1 && first === `${vouched.verifier.name}/control` && second === 'edgeproxy-control/v1', 'control')
  must(json !== undefined && more === undefined, 'control')
  const said = parseCanonical(json, KEYS, 'control')
  // Who holds the pinned key wrote the rest; what decides is checked all the same.
  must(MODES.includes(said.mode) && Number.isSafeInteger(said.serial) && Array.isArray(said.mirrors) && fromHash(said.salt), 'control')
  return {...said, origin: vouched.verifier.name, text: note.text}
}

/** Whether `next` is an order for this client after `last`; else `Refused`. @param {Control} next @param {Control | null} last @param {{origin: string, site: string}} own */
export function mayOrder(next, last, {origin, site}) {
  must(next.origin === origin && next.site === site, 'control')
  must(!last || next.serial > last.serial || next.text === last.text, 'rolled-back')
}

/** @param {{mode: Mode, percent: number}} said @param {number} bucket of this client, 0 to 99 @returns {Mode} */
export const modeFor = ({mode, percent}, bucket) => (mode === 'kill' || bucket < percent ? mode : 'bypass')
