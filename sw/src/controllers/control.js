/**
 * Owns: when the control document is asked for, of whom, and what a `kill` does. Never on the way of an answer.
 */
import {PREFIX} from '../models/blockstore.js'
import {isShared} from './lifecycle.js'
import {API} from './sources.js'

const BETWEEN = 300_000

/**
 * @param {ServiceWorkerGlobalScope} scope @param {import('../models/database.js').Database} db @param {import('./state.js').State} state
 * @param {import('./sources.js').Sources} sources @param {import('../models/mirrors.js').Health} health
 * @returns {() => Promise<void>} asks at most every five minutes; never rejects
 */
export function openControl(scope, db, state, sources, health) {
  let next = 0

  /** Leave this browser: caches, database, registration. The last is left to the site's own worker, if that waits in it. */
  async function kill() {
    const names = await scope.caches.keys()
    await Promise.all(names.filter(name => name.startsWith(PREFIX)).map(name => scope.caches.delete(name)))
    await db.destroy()
    if (!isShared(scope)) await scope.registration.unregister()
  }

  return async () => {
    if (state.now() >= next) {
      next = state.now() + BETWEEN
      await state.ready
      // Orders reach a client through mirrors too: that is how a worker is switched off whose edge is gone.
      for (const base of [API, ...health.order(state.orders().mirrors)]) {
        if (await sources.control(base).then(() => true, () => false)) break
      }
    }
    // Each time: it may have been interrupted, or something was just being kept.
    if (state.mode() === 'kill') await kill()
  }
}
