/**
 * Owns: sending receipts and spans when the edge can be reached again. Nobody waits for it, and nothing depends on it.
 */
import {packReceipts} from '../models/receipt.js'
import {encodeSpans} from '../models/trace.js'
import {API} from './sources.js'

/** @typedef {ReturnType<typeof openReports>} Reports */

const BETWEEN = 30_000

/**
 * @param {import('../config.js').Config} config @param {import('./state.js').State} state @param {import('./sources.js').Sources} sources
 * @param {import('../models/outbox.js').Outbox} receipts @param {import('../models/outbox.js').Outbox} traces
 */
export function openReports(config, state, sources, receipts, traces) {
  // A wall clock that does not jump while spans are measured.
  const start = Date.now() - performance.now()
  let nextFlush = 0
  let isFlushing = false

  /** @param {string} url @param {string} body */
  const post = async (url, body) =>
    (await sources.ask(url, {method: 'POST', body, headers: {'content-type': 'application/json'}})).status

  async function sendReceipts() {
    for (let waiting = await receipts.queued(); waiting.length; waiting = await receipts.queued()) {
      if (!state.token()) await sources.control(API)
      const {sent, body} = packReceipts(waiting, state.token())
      const status = await post(`${API}/receipts`, body)
      if (status === 403) state.dropToken()
      // What is malformed today is so tomorrow; for 403, 429 and 5xx there is a next time.
      if (![202, 400, 413, 415].includes(status)) return
      await receipts.remove(sent)
    }
  }

  async function sendSpans() {
    for (const record of await traces.queued()) {
      const status = await post('/.edge/otlp/v1/traces', record.body)
      if (status === 429 || status >= 500) return
      await traces.remove([record])
    }
  }

  return {
    /** Milliseconds since the epoch. */
    now: () => start + performance.now(),

    /** @param {import('../models/receipt.js').Receipt | null} receipt */
    receipt: async receipt => receipt && receipts.add(receipt),

    /** @param {import('../models/trace.js').Trace} trace */
    spans: ({root, spans}) => traces.add({id: root.spanId, body: JSON.stringify(encodeSpans(spans, config.site, config.version))}),

    /** The edge answered: what waits can go, at most every 30 s unless `isAsked`. Never rejects. @param {boolean} [isAsked] */
    async flush(isAsked = false) {
      if (isFlushing || (!isAsked && state.now() < nextFlush)) return
      isFlushing = true
      nextFlush = state.now() + BETWEEN
      try {
        await state.ready
        await sendReceipts()
        await sendSpans()
      } catch {
        // The edge is not there after all; the next good answer tries again.
      } finally {
        isFlushing = false
      }
    }
  }
}
