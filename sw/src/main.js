/**
 * Owns: putting the parts together, and every listener, all of them at the top level as browsers want it. Nothing else.
 */
import {configure} from './config.js'
import {openControl} from './controllers/control.js'
import {openFetch} from './controllers/fetch.js'
import {openLifecycle} from './controllers/lifecycle.js'
import {openMessages} from './controllers/message.js'
import {openRecovery} from './controllers/recovery.js'
import {openReports} from './controllers/reports.js'
import {openSeed} from './controllers/seed.js'
import {openSources} from './controllers/sources.js'
import {openState} from './controllers/state.js'
import {openBlockStore} from './models/blockstore.js'
import {openDatabase} from './models/database.js'
import {trackHealth} from './models/mirrors.js'
import {openOutbox} from './models/outbox.js'
import {SHELL} from './shell.js'

const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self))
const config = configure(/** @type {any} */ (self).EDGE)
const {subtle} = crypto

const db = openDatabase(indexedDB)
const state = openState(config, subtle, db, Date.now)

/** The configured bytes, and never more than a tenth of what the browser gives this site, where it says how much that is (WebKitGTK does not). */
async function budget() {
  const {quota = Infinity} = (await navigator.storage?.estimate()) ?? {}
  return Math.min(config.limits.bytes, quota / 10)
}

const store = openBlockStore(subtle, caches, db, budget, state.now)
const health = trackHealth(state.now)
const sources = openSources(config, subtle, store, state, fetch)
const refresh = openControl(scope, db, state, sources, health)
const reports = openReports(config, state, sources, openOutbox(db, 'receipts', state.now), openOutbox(db, 'spans', state.now))
const seed = openSeed(scope.location.origin, config, state, store, sources)
const lifecycle = openLifecycle(scope, config.version, SHELL)
const onMessage = openMessages(seed, reports, refresh)
// One after the other: nothing may be kept any more once it was ordered to leave.
const onFetch = openFetch(scope, config, state, openRecovery(config, sources, health, state), reports, (request, response) =>
  refresh().then(() => response && Promise.all([seed.passedBy(request.url, response), reports.flush()]))
)

scope.addEventListener('install', lifecycle.install)
scope.addEventListener('activate', event => event.waitUntil(lifecycle.activate().then(() => reports.flush(true))))
scope.addEventListener('message', onMessage)
scope.addEventListener('fetch', event => {
  if (!lifecycle.handle(event)) onFetch(event)
})
