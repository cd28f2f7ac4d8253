/**
 * Owns: the end of the worker. Served in place of sw.js: it deletes what the worker kept and takes itself out of the browser.
 * It has no fetch listener, so every request goes to the network from its activation on. Open pages are not reloaded.
 */
const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self))

scope.addEventListener('install', event => event.waitUntil(scope.skipWaiting()))
scope.addEventListener('activate', event =>
  event.waitUntil(
    (async () => {
      const names = await caches.keys()
      await Promise.all(names.filter(name => name.startsWith('edge-sw-')).map(name => caches.delete(name)))
      indexedDB.deleteDatabase('edge-sw')
      await scope.registration.unregister()
    })()
  )
)
