/**
 * Owns: what the worker knows between events: pinned keys, the orders it was given, what it saw of the log, and the clock.
 *
 * What was persisted is proved again at each start: every page script can write in IndexedDB.
 */
import {openCheckpoint} from '../models/checkpoint.js'
import {hex} from '../models/digest.js'
import {parseVerifier} from '../models/note.js'
import {mayOrder, modeFor, openControl} from '../models/policy.js'

/** @typedef {import('../models/digest.js').Bytes} Bytes */
/** @typedef {import('../models/policy.js').Control} Control */
/** @typedef {import('../models/checkpoint.js').Seen} Seen */
/** @typedef {ReturnType<typeof openState>} State */

/** @param {import('../config.js').Config} config @param {SubtleCrypto} subtle @param {import('../models/database.js').Database} db @param {() => number} clock ms */
export function openState(config, subtle, db, clock) {
  /** @type {Control | null} */
  let control = null
  /** @type {import('../models/checkpoint.js').Trust | null} */
  let trust = null
  /** By origin. @type {Record<string, Seen>} */
  const seen = {}
  /** The notes that say so: what is read back is proved again. @type {Record<string, Bytes>} */
  const notes = {}
  let token = ''
  let bucket = 0
  // When the newest orders were signed: no time before it is believed.
  let floor = 0

  async function setTrust() {
    const parse = (/** @type {string[]} */ keys) => keys.map(each => parseVerifier(subtle, each))
    // What the script pins is never weakened by an order.
    const validators = config.validators ?? control?.validators
    // One whose kind of key is unknown here (ML-DSA) does not count, and harms nobody.
    const cosigners = (await Promise.allSettled(parse(validators?.keys ?? []))).flatMap(each => /** @type {{value?: import('../models/note.js').Verifier}} */ (each).value ?? [])
    return (trust = {logs: await Promise.all(parse(config.keys)), cosigners, quorum: validators?.quorum ?? 0})
  }

  /** Take a control document; rejects with `Refused`. @param {Bytes} data @param {string | null} newToken for receipts */
  async function order(data, newToken) {
    if (!trust) return
    const next = await openControl(subtle, data, trust.logs)
    mayOrder(next, control, config)
    const isNew = next.text !== control?.text
    control = next
    if (isNew) await setTrust()
    floor = Math.max(floor, next.issued)
    token = newToken ?? token
    if (isNew || newToken) await db.put('meta', {id: 'control', value: data, token})
  }

  /** A checkpoint was verified, out of this note. @param {import('../models/checkpoint.js').Checkpoint} checkpoint @param {Bytes} note */
  async function sawCheckpoint({origin, size, root}, note) {
    if (seen[origin]?.size >= size) return
    seen[origin] = {size, root: hex(root)}
    notes[origin] = note
    await db.put('meta', {id: 'seen', value: notes}).catch(() => {})
  }

  async function load() {
    // Without Ed25519 in this browser, it rejects here and `trust` stays null: then nothing is recovered.
    const pinned = await setTrust()
    const [client, orders, sights] = await Promise.all(['client', 'control', 'seen'].map(name => db.get('meta', name)))
    // Once thrown, always the same, so that a percentage that grows takes in more and leaves nobody out.
    const thrown = client?.value % 100
    bucket = thrown >= 0 ? thrown : Math.floor(Math.random() * 100)
    if (bucket !== thrown) await db.put('meta', {id: 'client', value: bucket})
    if (orders) await order(orders.value, String(orders.token)).catch(() => {})
    for (const note of Object.values(sights?.value ?? {})) await sawCheckpoint(await openCheckpoint(subtle, note, pinned, clock()), note)
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
    /** Milliseconds since the epoch; never before the newest orders. */
    now: () => Math.max(clock(), floor),
    /** What this client is to do. */
    mode: () => modeFor(control ?? config, bucket),
    /** What holds now: the newest orders, or else what the script came with. */
    orders: () => control ?? config,

    order,
    sawCheckpoint
  }
}
