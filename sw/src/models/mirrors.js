/**
 * Owns: in which order sources are asked, which are left alone for a while, and the race between them. Must not know what they are asked.
 */
import {within} from './waiting.js'

const FIRST_PAUSE = 30_000
const LONGEST_PAUSE = 3_600_000

/** @typedef {ReturnType<typeof trackHealth>} Health */

/** @param {() => number} now ms */
export function trackHealth(now) {
  /** @type {Map<string, [number, number]>} base to failures in a row, and until when it is left alone */
  const known = new Map()
  /** @param {string} base */
  const of = base => known.get(base) ?? [0, 0]

  return {
    /** Those of `bases` that may be asked now, in the given order, the ones that failed before after the others. @param {string[]} bases */
    order: bases => bases.filter(base => of(base)[1] <= now()).sort((one, other) => of(one)[0] - of(other)[0]),

    /** It answered as it should. @param {string} base */
    succeeded: base => known.delete(base),

    /** It did not: it is left alone, twice as long each time; for the longest time when it lied. @param {string} base @param {boolean} lied */
    failed(base, lied) {
      const failures = of(base)[0] + 1
      const pause = lied ? LONGEST_PAUSE : Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
      known.set(base, [failures, now() + pause])
    }
  }
}

/**
 * Ask one after the other, the next when all before failed or the last is silent for its `patience`; the first answer that is not null wins.
 * @template T
 * @param {[patience: number, ask: (signal: AbortSignal) => Promise<T | null>][]} sources patience in ms
 * @returns {Promise<T | null>} null when none has one; never rejects
 */
export async function hedged(sources) {
  const ended = new AbortController()
  /** @type {Promise<T>[]} */
  const asked = []
  let found = null
  for (const [patience, ask] of sources) {
    asked.push(ask(ended.signal).then(value => value ?? Promise.reject()))
    // An earlier one that was too slow may still win while a later one is asked.
    found = await within(patience, firstOf(asked), null)
    if (found) break
  }
  found ??= await firstOf(asked)
  ended.abort()
  return found
}

/** @template T @param {Promise<T>[]} answers @returns {Promise<T | null>} */
const firstOf = answers => Promise.any(answers).catch(() => null)
