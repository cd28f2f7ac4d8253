/**
 * Owns: what this browser keeps: bodies in Cache Storage, blocks with their proofs in IndexedDB, and how many bytes of them.
 *
 * Every page script of the site can write in both. So there is no way to read that does not prove, and what fails is deleted.
 */
import {proveBlock, proveBody} from './evidence.js'
import {must} from './refused.js'

export const PREFIX = 'edge-sw-'
const CACHE = `${PREFIX}blocks-1`

/** @typedef {import('./digest.js').Bytes} Bytes */
/** @typedef {import('./evidence.js').Envelope & {id: string, origin: string, height: number, bytes: number, at: number}} Kept `id` is the key of the URL; `origin` of the log; used last `at`, in ms */
/** @typedef {ReturnType<typeof openBlockStore>} BlockStore */

/**
 * @param {SubtleCrypto} subtle @param {CacheStorage} caches @param {import('./database.js').Database} db
 * @param {() => Promise<number>} budget bytes @param {() => number} now ms
 */
export function openBlockStore(subtle, caches, db, budget, now) {
  /** What is said to be kept: a hint, for deciding what to fetch. @param {string} key @returns {Promise<Kept | undefined>} */
  const peek = key => db.get('blocks', key)

  /** @param {{id: string}[]} records */
  async function remove(records) {
    const cache = await caches.open(CACHE)
    await Promise.all(records.map(({id}) => cache.delete(id)))
    await db.remove('blocks', records)
  }

  /** Delete what was used least lately until at most `room(size)` bytes are kept besides `key`. @param {string} key @param {(size: number) => number} room */
  async function makeRoom(key, room) {
    const others = (await db.all('blocks')).filter(kept => kept.id !== key)
    let size = others.reduce((sum, kept) => sum + kept.bytes, 0)
    const most = room(size)
    await remove(
      others.filter(({bytes}) => {
        const isGone = size > most
        if (isGone) size -= bytes
        return isGone
      })
    )
  }

  return {
    peek,
    remove,

    /** The copy of a URL, proved; null when there is none. Rejects with `Refused`. @param {import('./evidence.js').Question} question */
    async read(question) {
      const {key} = question
      const kept = await peek(key)
      if (!kept) return null
      try {
        const held = await (await caches.open(CACHE)).match(key)
        must(held, 'body')
        const body = new Uint8Array(await held.arrayBuffer())
        const proven = await proveBlock(subtle, kept, question)
        await proveBody(subtle, proven.entry, body)
        // Not waited for: the answer is.
        db.put('blocks', {...kept, at: now()}).catch(() => {})
        return {...proven, body}
      } catch (error) {
        await remove([kept])
        throw error
      }
    },

    /**
     * Keep what was proved; never fails: a visitor's page does not depend on it.
     * @param {string} key @param {import('./evidence.js').Envelope} envelope @param {import('./evidence.js').Proven} proven @param {Bytes} body
     */
    async write(key, {block, proof, head}, {entry: {height}, checkpoint: {origin}}, body) {
      const bytes = body.length + block.length + proof.length + head.length
      try {
        const most = (await budget()) - bytes
        if (most < 0) return
        await makeRoom(key, () => most)
        await (await caches.open(CACHE)).put(key, new Response(body))
        await db.put('blocks', {id: key, block, proof, head, origin, height, bytes, at: now()})
      } catch {
        // QuotaExceededError: the browser has less room than it said.
        await makeRoom(key, size => size / 2).catch(() => {})
      }
    }
  }
}
