/**
 * Owns: what the worker knows between events: pinned keys, the orders it was given, what it saw of the log, and the clock.
 *
 * What was persisted is proved again at each start: every page script can write in IndexedDB.
 */
import {hex} from '../models/digest.js'
import {parseVerifier} from '../models/note.js'
import {mayOrder, modeFor, openControl} from '../models/policy.js'

/** @typedef {import('../models/digest.js').Bytes} Bytes */
/** @typedef {import('../models/policy.js').Control} Control */
/** @typedef {import('../models/checkpoint.js').Seen} Seen */
/** @typedef {ReturnType<typeof openState>} State */

/** A time that is further ahead than this was written by somebody who wants everything to look too old. */
const FAR = 86_400_000

/** @param {import('../config.js').Config} config @param {SubtleCrypto} subtle @param {import('../models/database.js').Database} db @param {() => number} clock ms */
export function openState(config, subtle, db, clock) {
  /** @type {Control | null} */
  let control = null
  /** @type {import('../models/checkpoint.js').Trust | null} */
  let trust = null
  /** By origin. @type {Record<string, Seen>} */
  const seen = {}
  let token = ''
  let bucket = 0
  // No time before this one is believed.
  let floor = 0

  /** @param {number} time */
  const raiseFloor = time => {
    if (time < clock() + FAR) floor = Math.max(floor, time)
  }

  async function setTrust() {
    const parse = (/** @type {string[]} */ keys) => keys.map(each => parseVerifier(subtle, each))
    // What the script pins is never weakened by an order.
    const validators = config.validators ?? control?.validators
    // One whose kind of key is unknown here (ML-DSA) does not count, and harms nobody.
    const cosigners = (await Promise.allSettled(parse(validators?.keys ?? []))).flatMap(each => /** @type {{value?: import('../models/note.js').Verifier}} */ (each).value ?? [])
    trust = {logs: await Promise.all(parse(config.keys)), cosigners, quorum: validators?.quorum ?? 0}
  }

  /** Take a control document; rejects with `Refused`. @param {Bytes} data @param {string | null} newToken for receipts */
  async function order(data, newToken) {
    if (!trust) return
    const next = await openControl(subtle, data, trust.logs)
    mayOrder(next, control, config)
    const isNew = next.text !== control?.text
    control = next
    if (isNew) await setTrust()
    raiseFloor(next.issued)
    token = newToken ?? token
    if (isNew || newToken) await db.put('meta', {id: 'control', value: data, token})
  }

  async function load() {
    // Without Ed25519 in this browser, it rejects here and `trust` stays null: then nothing is recovered.
    await setTrust()
    const [client, orders, sights] = await Promise.all(['client', 'control', 'seen'].map(name => db.get('meta', name)))
    // Once thrown, always the same, so that a percentage that grows takes in more and leaves nobody out.
    bucket = client?.value ?? Math.floor(Math.random() * 100)
    if (!client) await db.put('meta', {id: 'client', value: bucket})
    // Whoever wrote nonsense here gets a worker that recovers nothing, as if it had deleted its stores.
    Object.assign(seen, sights?.value)
    raiseFloor(seen[config.origin]?.at ?? 0)
    if (orders) await order(orders.value, String(orders.token)).catch(() => {})
  }

  // A browser that denies its stores (private mode, a full disk) still gets what the script's bytes say.
  const ready = load().catch(() => {})

  return {
    ready,
    /** Null where there is no Ed25519. */
    trust: () => trust,
    seen,
    /** For receipts, from the edge. */
    token: () => token,
    dropToken: () => (token = ''),
    /** Milliseconds since the epoch; never before what was proved to have happened. */
    now: () => Math.max(clock(), floor),
    /** What this client is to do. */
    mode: () => modeFor(control ?? config, bucket),
    /** What holds now: the newest orders, or else what the script came with. */
    orders: () => control ?? config,

    order,

    /** A checkpoint was verified. @param {import('../models/checkpoint.js').Checkpoint} checkpoint */
    async sawCheckpoint({origin, size, root}) {
      if (seen[origin]?.size >= size) return
      floor = Math.max(clock(), floor)
      seen[origin] = {size, root: hex(root), at: floor}
      await db.put('meta', {id: 'seen', value: seen}).catch(() => {})
    }
  }
}
