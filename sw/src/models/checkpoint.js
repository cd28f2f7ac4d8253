/**
 * Owns: checkpoints (C2SP tlog-checkpoint), whom they must be signed by, and which of them may follow one that was seen. Must not keep one.
 */
import {decimal, fromHash, lines, utf8} from './digest.js'
import {openNote, parseNote} from './note.js'
import {must} from './refused.js'

/** @typedef {import('./digest.js').Bytes} Bytes */
/** @typedef {import('./note.js').Verifier} Verifier */
/** @typedef {{origin: string, size: number, root: Bytes}} Checkpoint */
/** @typedef {{logs: Verifier[], cosigners: Verifier[], quorum: number}} Trust pinned keys; `quorum` 0 asks for no cosignature */

/** Cosignatures may come from a clock that is ahead by so many seconds. */
const AHEAD = 600

/** The checkpoint in a note, signed by a pinned key of the log it names; else `Refused`. @param {SubtleCrypto} subtle @param {Bytes} data @param {Trust} trust @param {number} now ms @returns {Promise<Checkpoint>} */
export async function openCheckpoint(subtle, data, trust, now) {
  const note = parseNote(data)
  const text = lines(utf8(note.text), data.length)
  // Extension lines are refused: some cosignatures do not cover them.
  must(text.length === 3 && text.every(Boolean), 'checkpoint')
  const checkpoint = {origin: text[0], size: decimal(text[1]), root: fromHash(text[2])}
  const vouched = await openNote(subtle, note, [...trust.logs, ...trust.cosigners])
  const isLog = (/** @type {Verifier} */ each) => trust.logs.includes(each)
  must(vouched.some(each => isLog(each.verifier)), 'unsigned')
  must(vouched.every(each => !isLog(each.verifier) || each.verifier.name === checkpoint.origin), 'origin')
  const votes = vouched.filter(each => !isLog(each.verifier) && each.time !== null && each.time <= now / 1000 + AHEAD)
  must(new Set(votes.map(each => each.verifier.raw)).size >= trust.quorum, 'quorum')
  return checkpoint
}

/** @typedef {{size: number, root: string, at: number}} Seen the largest that was verified, when (ms); root in hex */

/**
 * Whether `next` may be believed after what was seen of the same log; else `Refused`.
 *
 * Our own edge never shows less than it showed. A mirror, and what was kept here, is older by nature: how old is for the block's time
 * to say. Nobody may show another tree of the same size.
 * @param {Checkpoint} next
 * @param {string} root of `next`, in hex
 * @param {Seen | undefined} seen
 * @param {boolean} isEdge
 */
export function mayFollow({size}, root, seen, isEdge) {
  must(size !== seen?.size || root === seen.root, 'equivocation')
  must(!isEdge || !seen || size >= seen.size, 'rolled-back')
}
