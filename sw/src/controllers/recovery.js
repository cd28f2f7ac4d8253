/**
 * Owns: where a copy is looked for when the network failed, and in which order: own store, the edge's block API, mirrors. Must not
 * decide whether the network failed, nor build a response.
 */
import {hedged} from '../models/mirrors.js'
import {Refused} from '../models/refused.js'

/** @typedef {import('../views/response.js').Found} Found */
/** @typedef {import('../models/receipt.js').Source} Source */
/** @typedef {{found?: Found | null, lies: Source[]}} Searched `lies`: sources whose answers did not hold */
/** @typedef {ReturnType<typeof openRecovery>} Recovery */

/**
 * @param {import('../config.js').Config} config @param {import('./sources.js').Sources} sources
 * @param {import('../models/mirrors.js').Health} health @param {import('./state.js').State} state
 */
export function openRecovery(config, sources, health, state) {
  /** The first copy that proves itself. Never rejects. @param {string} key @param {import('../models/trace.js').Trace} trace @returns {Promise<Searched>} */
  return async (key, trace) => {
    const {limits} = config
    /** @type {Source[]} */
    const lies = []
    /** @type {(source: Source, ask: (traceparent: string) => Promise<Found | null | undefined>, base?: string) => Promise<Found | null | undefined>} */
    const step = async (source, ask, base = '') => {
      const span = trace.start(`edge.sw.${source}`, source !== 'cache')
      try {
        const found = await ask(trace.traceparent(span))
        health.succeeded(base)
        trace.end(span, {'edge.found': String(Boolean(found))})
        return found
      } catch (error) {
        // Anything else (too old, too long, no answer) says nothing against it.
        const isLie = error instanceof Refused
        if (isLie) lies.push(source)
        if (/** @type {Error} */ (error).name !== 'AbortError') health.failed(base, isLie)
        trace.end(span, {}, String(error))
        return null
      }
    }
    const found = await hedged([
      [limits.local, () => step('cache', () => sources.local(key))],
      [limits.edge, signal => step('edge', traceparent => sources.edge(key, {signal, traceparent}))],
      .../** @type {[number, (signal: AbortSignal) => Promise<Found | null | undefined>][]} */ (
        health.order(state.orders().mirrors).map(base => [limits.hedge, (/** @type {AbortSignal} */ signal) => step('mirror', () => sources.mirror(base, key, {signal}), base)])
      )
    ])
    return {found, lies}
  }
}
