/**
 * Owns: asking the edge and mirrors for a block and its body, and proving both. Must not decide whether an answer is wanted.
 */
import {mayFollow} from '../models/checkpoint.js'
import {concat, decodeUtf8, fromHash, hex, parseJson} from '../models/digest.js'
import {proveBlock, proveBody} from '../models/evidence.js'
import {unusable} from '../models/head.js'
import {openControl} from '../models/policy.js'
import {must} from '../models/refused.js'
import {urlDigest} from '../models/url.js'

/** @typedef {import('../models/digest.js').Bytes} Bytes */
/** @typedef {import('../models/evidence.js').Proven} Proven */
/** @typedef {import('../views/response.js').Found} Found */
/** @typedef {{signal?: AbortSignal, traceparent?: string}} How */
/** @typedef {ReturnType<typeof openSources>} Sources */

export const API = '/.edge/api/v1'
/** Bytes of a proof answer: block and head in base64, and a proof. */
const MOST_ANSWER = 1 << 20
const MOST_CONTROL = 65_536

/** All of a body of at most `most` bytes; rejects when it is longer. @param {Response} response @param {number} most @returns {Promise<Bytes>} */
export async function readBounded(response, most) {
  if (!response.ok) throw new Error(`status ${response.status}`)
  if (!response.body) return new Uint8Array()
  const reader = response.body.getReader()
  const parts = []
  let length = 0
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    length += next.value.length
    if (length > most) {
      await reader.cancel()
      throw new Error('too-long')
    }
    parts.push(next.value)
  }
  return concat(...parts)
}

/**
 * @param {import('../config.js').Config} config @param {SubtleCrypto} subtle @param {import('../models/blockstore.js').BlockStore} store
 * @param {import('./state.js').State} state @param {typeof fetch} network
 */
export function openSources(config, subtle, store, state, network) {
  /** Salts of mirrors that have a log of their own. @type {Map<string, Bytes>} */
  const salts = new Map()

  const ownSalt = () => fromHash(state.orders().salt)

  /** A request that does not show who asks. @param {string} url @param {How & RequestInit} how */
  function ask(url, {signal, traceparent, ...how}) {
    const limit = AbortSignal.timeout(config.limits.request)
    const headers = {...how.headers, ...(traceparent && {traceparent})}
    return network(url, {credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', ...how, headers, signal: signal ? AbortSignal.any([signal, limit]) : limit})
  }

  /** @param {string} key @param {Bytes} salt @returns {import('../models/evidence.js').Question} */
  function question(key, salt) {
    const trust = state.trust()
    if (!trust) throw new Error('no-ed25519')
    return {key, salt, trust, now: state.now()}
  }

  /** @param {Proven} proven */
  function mustBeUsable({headers, entry}) {
    const why = unusable(headers, entry.time, state.now(), state.orders().max_stale, config.override)
    if (why) throw new Error(why)
  }

  /** @param {string} url @param {How} how @returns {Promise<import('../models/evidence.js').Envelope | undefined>} */
  async function envelopeOf(url, how) {
    const response = await ask(url, {...how, cache: 'no-store'})
    if (response.status !== 404) return parseJson(decodeUtf8(await readBounded(response, MOST_ANSWER)))
  }

  /** A body that the page just loaded or the edge has, when it is what the block says. @param {Promise<Response>} asked @param {Proven} proven */
  async function bodyOf(asked, {entry}) {
    const body = await readBounded(await asked, entry.length)
    await proveBody(subtle, entry, body)
    return body
  }

  /**
   * Prove what was answered, fetch its body, prove that, keep both. With `isSeed`, null when it is kept already.
   * @param {import('../models/evidence.js').Envelope} envelope @param {string} key @param {Bytes} salt
   * @param {string} base @param {How} how @param {boolean} isSeed
   * @returns {Promise<Found | null>}
   */
  async function take(envelope, key, salt, base, how, isSeed) {
    const proven = await proveBlock(subtle, envelope, question(key, salt))
    const {entry, checkpoint, root, headers} = proven
    const isEdge = base === API
    mayFollow(checkpoint, root, state.seen[checkpoint.origin], isEdge)
    const kept = await store.peek(key).catch(() => undefined)
    const isSameLog = kept?.origin === checkpoint.origin
    // The edge may have been rolled back by its operator, and says so by its newest checkpoint; a mirror cannot.
    must(isEdge || !isSameLog || entry.height >= kept.height, 'rolled-back')
    await state.sawCheckpoint(checkpoint, proven.note)
    if (isSeed && isSameLog && kept.height === entry.height) return null
    mustBeUsable(proven)
    if (entry.length > config.limits.body) throw new Error('too-long')
    // Pages in the HTTP cache are not what the block says: they were injected into.
    const isHeld = isSeed && !/^text\/html/i.test(headers.get('content-type') ?? '')
    const body =
      (isHeld && (await bodyOf(network(key, {cache: 'force-cache'}), proven).catch(() => null))) ||
      (await bodyOf(ask(`${base}/bodies/${hex(entry.body)}`, how), proven))
    await store.write(key, envelope, proven, body)
    return {...proven, body, source: isEdge ? 'edge' : 'mirror'}
  }

  /** The salt that a mirror's log has for our site, by its control document; ours when it has none that holds. @param {string} base @param {How} how */
  async function saltOf(base, how) {
    try {
      const data = await readBounded(await ask(`${base}/control`, how), MOST_CONTROL)
      salts.set(base, fromHash((await openControl(subtle, data, question('', ownSalt()).trust.logs)).salt))
    } catch {
      salts.set(base, ownSalt())
    }
  }

  return {
    ask,

    /** The own copy, proved and usable, or null. Rejects with `Refused`. @param {string} key @returns {Promise<Found | null>} */
    async local(key) {
      const found = await store.read(question(key, ownSalt()))
      if (!found) return null
      mayFollow(found.checkpoint, found.root, state.seen[found.checkpoint.origin], false)
      mustBeUsable(found)
      return {...found, source: 'cache'}
    },

    /** From the edge's block API; undefined when it has none; null, with `isSeed`, when it is kept already. @param {string} key @param {How} how @param {boolean} [isSeed] */
    async edge(key, how, isSeed = false) {
      const envelope = await envelopeOf(`${API}/blocks?url=${encodeURIComponent(key)}`, how)
      return envelope && take(envelope, key, ownSalt(), API, how, isSeed)
    },

    /** @param {string} base @param {string} key @param {How} how @returns {Promise<Found | null | undefined>} */
    async mirror(base, key, how) {
      if (!salts.has(base)) await saltOf(base, how)
      const salt = salts.get(base) ?? ownSalt()
      const envelope = await envelopeOf(`${base}/blocks/${hex(await urlDigest(subtle, salt, key))}.json`, how)
      return envelope && take(envelope, key, salt, base, how, false)
    },

    /** Ask for orders; rejects when none came that hold. @param {string} base */
    async control(base) {
      const response = await ask(`${base}/control`, {cache: 'no-store'})
      await state.order(await readBounded(response, MOST_CONTROL), base === API ? response.headers.get('edge-receipt-token') : null)
    }
  }
}
