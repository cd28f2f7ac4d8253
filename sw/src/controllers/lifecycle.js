/**
 * Owns: what happens when the worker is installed and activated, and the page scripts that must be there when the edge is not.
 */
import {PREFIX} from '../models/blockstore.js'
import {hex, sha256, utf8} from '../models/digest.js'

/** The line that the edge puts in front of register.js. It is for those who can reach it, and is not kept. */
const PREAMBLE = /^self\.EDGE_PAGE=.*\n/

/**
 * Let the browser answer navigations from the network without waiting for this worker, and fall back to it (static routing).
 * Where there is another version of the interface, every request comes to the worker.
 * @param {any} event
 */
const addRoutes = event =>
  event
    .addRoutes?.({condition: {urlPattern: '/*', requestMethod: 'GET', requestMode: 'navigate'}, source: 'race-network-and-fetch-handler'})
    .catch(() => {})

/** Whether a worker of the site itself is in our registration: there is one for each scope. @param {ServiceWorkerGlobalScope} scope */
export const isShared = ({registration: {installing, waiting, active}, location: {href}}) =>
  [installing, waiting, active].some(each => each && each.scriptURL !== href)

/** @param {ServiceWorkerGlobalScope} scope @param {string} version names the shell's cache @param {Record<string, string>} scripts path to the beginning of its digest */
export function openLifecycle(scope, version, scripts) {
  const {caches} = scope
  const shell = `${PREFIX}shell-${version}`

  /** @param {Request} request @param {string} path */
  async function shellAnswer(request, path) {
    try {
      const response = await fetch(request)
      if (response.status < 500) return response
    } catch {
      // The edge is gone: that is what the shell is for.
    }
    const held = await (await caches.open(shell)).match(path)
    const script = held ? (await held.text()).replace(PREAMBLE, '') : ''
    if (!hex(await sha256(scope.crypto.subtle, utf8(script))).startsWith(scripts[path])) return Response.error()
    return new Response(script, {headers: {'content-type': 'text/javascript'}})
  }

  return {
    /** @param {ExtendableEvent} event */
    install(event) {
      addRoutes(event)
      const filled = async () => (await caches.open(shell)).addAll(Object.keys(scripts).map(path => new Request(path, {cache: 'no-cache'})))
      // A worker without its banner is better than none; where the site has one of its own, an install that fails leaves that one there.
      event.waitUntil(isShared(scope) ? Promise.reject() : Promise.all([scope.skipWaiting(), filled().catch(() => {})]))
    },

    async activate() {
      const names = await caches.keys()
      const old = names.filter(name => name.startsWith(`${PREFIX}shell-`) && name !== shell)
      await Promise.all(old.map(name => caches.delete(name)))
      await scope.clients.claim()
    },

    /** Take a request for one of our two page scripts: from the edge, else from the shell, when it is what this worker was built with. @param {FetchEvent} event */
    handle(event) {
      const {method, url} = event.request
      const path = url.replace(scope.location.origin, '')
      const isOurs = method === 'GET' && path in scripts
      if (isOurs) event.respondWith(shellAnswer(event.request, path))
      return isOurs
    }
  }
}
