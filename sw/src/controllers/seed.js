/**
 * Owns: filling the store while all is well: what a page lists on its first visit, and what passes by later. Never on the way of an
 * answer, one at a time.
 */
import {urlKey} from '../models/url.js'
import {within} from '../models/waiting.js'

/** A proof is asked for again at most so often, in ms. */
const AGAIN = 600_000
const MOST_KNOWN = 2_000

/** @typedef {ReturnType<typeof openSeed>} Seed */

/**
 * @param {string} origin of the site @param {import('../config.js').Config} config @param {import('./state.js').State} state
 * @param {import('../models/blockstore.js').BlockStore} store @param {import('./sources.js').Sources} sources
 */
export function openSeed(origin, config, state, store, sources) {
  /** When a key may be asked for next. @type {Map<string, number>} */
  const next = new Map()
  let last = state.ready

  /** The keys of those URLs that may be asked for now. @param {string[]} urls absolute */
  function due(urls) {
    if (next.size > MOST_KNOWN) next.clear()
    return urls
      .filter(url => url.startsWith(`${origin}/`) && !url.startsWith(`${origin}/.edge/`))
      .map(url => urlKey(url, config.ignore))
      .filter(key => {
        const isDue = (next.get(key) ?? 0) <= state.now()
        if (isDue) next.set(key, state.now() + AGAIN)
        return isDue
      })
  }

  /** @param {string[]} keys @returns {Promise<string[]>} those of which the edge has nothing */
  async function fill(keys) {
    const absent = []
    for (const key of keys) {
      // What cannot be kept today is asked for again later.
      if (state.mode() === 'on' && (await sources.edge(key, {}, true).catch(() => null)) === undefined) absent.push(key)
    }
    return absent
  }

  /** @param {string[]} urls */
  const keep = urls =>
    (last = last.then(async () => {
      const absent = await fill(due(urls))
      // What was stored just now has a block within a moment.
      if (absent.length) await within(config.limits.moment, new Promise(() => {}), 0).then(() => fill(absent))
    }))

  return {
    /** What a page was made of, as it says. @param {unknown} urls */
    take: async urls => Array.isArray(urls) && keep(urls.slice(0, config.limits.seed).map(String)),

    /** An answer passed by: when it is out of a block that is not kept yet, keep it. @param {string} url @param {Response} response */
    async passedBy(url, {status, type, headers}) {
      const block = headers.get('edge-block')
      if (status !== 200 || type !== 'basic' || !(block || /\bstored\b/.test(headers.get('cache-status') ?? ''))) return
      const key = urlKey(url, config.ignore)
      const kept = await store.peek(key).catch(() => undefined)
      if (kept && block === String(kept.height)) return
      if (block) next.delete(key)
      await keep([url])
    }
  }
}
