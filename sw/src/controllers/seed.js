/**
 * Owns: filling the store while all is well: what a page lists on its first visit, and what passes by later. Never on the way of an
 * answer, one at a time.
 */
import {urlKey} from '../models/url.js'

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
  /** @type {string[]} */
  const queue = []
  let last = state.ready

  /** @param {string} url absolute */
  function add(url) {
    if (!url.startsWith(`${origin}/`) || url.startsWith(`${origin}/.edge/`)) return
    const key = urlKey(url, config.ignore)
    if ((next.get(key) ?? 0) > state.now()) return
    if (next.size > MOST_KNOWN) next.clear()
    next.set(key, state.now() + AGAIN)
    queue.push(key)
  }

  async function drain() {
    for (let key = queue.shift(); key; key = queue.shift()) {
      // What cannot be kept today is asked for again later.
      if (state.mode() === 'on') await sources.edge(key, {}, true).catch(() => {})
    }
  }

  const run = () => (last = last.then(drain))

  return {
    /** What a page was made of, as it says. @param {unknown} urls */
    async take(urls) {
      if (Array.isArray(urls)) urls.slice(0, config.limits.seed).forEach(url => add(String(url)))
      await run()
    },

    /** An answer passed by: when it is out of a block that is not kept yet, keep it. @param {string} url @param {Response} response */
    async passedBy(url, {status, type, headers}) {
      const block = headers.get('edge-block')
      // The block of what was stored just now follows within a moment.
      const willBe = /\bstored\b/.test(headers.get('cache-status') ?? '')
      if (status !== 200 || type !== 'basic' || !(block || willBe)) return
      const key = urlKey(url, config.ignore)
      const kept = await store.peek(key).catch(() => undefined)
      if (kept && block === String(kept.height)) return
      if (block) next.delete(key)
      add(url)
      await run()
    }
  }
}
