/**
 * Owns: what waits in IndexedDB until the edge can be reached: at most so many, for at most so long, each under an id that makes
 * sending it twice harmless. Must not send.
 */

const MOST = 200
const LONGEST = 7 * 86_400_000

/** @typedef {ReturnType<typeof openOutbox>} Outbox */

/** @param {import('./database.js').Database} db @param {import('./database.js').Store} name @param {() => number} now ms */
export function openOutbox(db, name, now) {
  /** All that wait, the oldest first. What is too old, or too much, is gone. @returns {Promise<any[]>} */
  async function queued() {
    const all = await db.all(name)
    const kept = all.filter(each => each.at > now() - LONGEST).slice(-MOST)
    if (kept.length < all.length) await db.remove(name, all.slice(0, all.length - kept.length))
    return kept
  }

  return {
    queued,

    /** @param {{id: string}[]} records */
    remove: records => db.remove(name, records),

    /** Take one in; the oldest makes room. @param {{id: string, [field: string]: unknown}} record */
    async add(record) {
      await db.put(name, {...record, at: now()})
      await queued()
    }
  }
}
