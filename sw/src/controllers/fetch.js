/**
 * Owns: which requests are taken at all, the network's chance, and what its failing means. Must not know where copies come from.
 */
import {makeReceipt} from '../models/receipt.js'
import {fromServerTiming, startTrace} from '../models/trace.js'
import {urlKey} from '../models/url.js'
import {within} from '../models/waiting.js'
import {tellState} from '../views/notice.js'
import {offline} from '../views/offline.js'
import {recovered} from '../views/response.js'

/** @typedef {import('../views/response.js').Found} Found */
/** @typedef {{response?: Response, cause: string}} Outcome of the network; `cause` empty when it was good enough */

/** For so long after a failure, parts of files are taken too, since media players ask for nothing else, and patience is short. */
const TROUBLED = 60_000

/**
 * Whether a request is one of those that a copy could answer. Everything else must not even be touched: taking a request changes how
 * uploads, event streams, dialogs for passwords and parts of media behave.
 * @param {Request} request @param {string} origin of the site @param {boolean} isTroubled
 */
export function mayHandle({method, url, headers, cache, mode}, origin, isTroubled) {
  const {origin: other, pathname, searchParams} = new URL(url)
  return (
    method === 'GET' &&
    other === origin &&
    !pathname.startsWith('/.edge/') &&
    !(mode === 'navigate' && searchParams.has('edge-sw')) &&
    cache !== 'only-if-cached' &&
    !headers.has('authorization') &&
    !/\btext\/event-stream\b/.test(headers.get('accept') ?? '') &&
    (isTroubled || !headers.has('range'))
  )
}

/** What is wrong with an answer of the network, or empty. @param {Response} response */
export const faultOf = ({status, headers}) => (/^50[0234]$/.test(String(status)) && !headers.has('x-edge-final') ? `status-${status}` : '')

/** @param {Promise<Response>} asked @returns {Promise<Outcome>} */
const outcomeOf = asked => asked.then(response => ({response, cause: faultOf(response)})).catch(() => ({cause: 'network'}))

/** The network's answer, or its failing. @param {Outcome} outcome */
function asItWas({response}) {
  if (response) return response
  throw new TypeError('the network failed')
}

/**
 * @param {ServiceWorkerGlobalScope} scope @param {import('../config.js').Config} config @param {import('./state.js').State} state
 * @param {import('./recovery.js').Recovery} recover @param {import('./reports.js').Reports} reports
 * @param {(request: Request, response?: Response) => Promise<unknown>} onEnd after each answer of the network; without one after its failing, and for what is not taken
 * @returns {(event: FetchEvent) => void}
 */
export function openFetch(scope, config, state, recover, reports, onEnd) {
  const {origin} = scope.location
  const {limits} = config
  let troubledUntil = 0

  /** @param {Request} request @param {string} cause @param {Found | null | undefined} found @param {import('../models/receipt.js').Source[]} lies @param {string} trace */
  function report({url, destination}, cause, found, lies, trace) {
    const dest = destination || 'fetch'
    const served = reports.now()
    /** @type {[import('../models/receipt.js').Source, string, number | null][]} */
    const all = [
      [found?.source ?? 'none', cause, found?.entry.height ?? null],
      // What did not prove itself was not served; the edge should know.
      ...lies.map(source => /** @type {[typeof source, string, null]} */ ([source, `${source}-bad`, null]))
    ]
    return Promise.all(all.map(([source, why, block]) => reports.receipt(makeReceipt({url, source, cause: why, block, served, dest, trace}))))
  }

  /** @param {FetchEvent} event @param {Promise<unknown>[]} after what goes on behind the answer */
  async function answer({request, clientId}, after) {
    // Unmodified, so that a race of the browser's own shares this one request.
    const network = outcomeOf(fetch(request))
    const patience = state.now() < troubledUntil ? limits.edge : request.mode === 'navigate' ? limits.navigation : limits.resource
    /** @type {Outcome} */
    const failed = await within(patience, network, {cause: 'timeout'})
    if (!failed.cause) {
      troubledUntil = 0
      after.push(onEnd(request, failed.response))
    }
    if (!failed.cause || request.signal.aborted) return asItWas(await network)

    await state.ready
    troubledUntil = state.now() + TROUBLED
    after.push(onEnd(request))
    if (state.mode() !== 'on') {
      if (state.mode() === 'observe') after.push(report(request, failed.cause, null, [], ''))
      return asItWas(await network)
    }

    const trace = startTrace(reports.now, 'edge.sw.recover', ...fromServerTiming(failed.response?.headers.get('server-timing') ?? ''))
    const searched = recover(urlKey(request.url, config.ignore), trace)
    // A network that wakes up meanwhile is as good as a copy.
    const awake = failed.cause === 'timeout' ? network.then(({cause}) => (cause ? searched : null)) : searched
    const ended = await Promise.race([searched.then(each => (each.found ? each : awake)), awake])
    const {found, lies} = ended ?? {found: null, lies: []}
    trace.end(
      trace.root,
      {
        'url.path': new URL(request.url).pathname,
        'edge.cause': failed.cause,
        'edge.source': ended ? (found?.source ?? 'none') : 'network',
        'edge.block': found?.entry.height ?? -1
      },
      ended && !found ? failed.cause : ''
    )
    after.push(reports.spans(trace))
    if (ended) after.push(report(request, failed.cause, found, lies, trace.root.traceId))
    // A page learns it by its tag.
    if (found && request.mode !== 'navigate') after.push(tellState(scope, clientId, request.url, found))
    return found ? recovered(found, request, state.now(), config.csp, origin) : ((await network).response ?? offline(request))
  }

  return event => {
    const isTaken = ['on', 'observe'].includes(state.mode()) && mayHandle(event.request, origin, state.now() < troubledUntil)
    // Who takes nothing still has to hear when that changes.
    if (!isTaken) return event.waitUntil(onEnd(event.request))
    /** @type {Promise<unknown>[]} */
    const after = []
    const answered = answer(event, after)
    event.respondWith(answered)
    event.waitUntil(answered.catch(() => {}).then(() => Promise.allSettled(after)))
  }
}
