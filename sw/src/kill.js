/**
 * Owns: the end of the worker. Served in place of sw.js: it deletes what the worker kept and takes itself out of the browser.
 * Where the site has a worker of its own in that registration, it is left as it is. It has no fetch listener, so every request goes to the network from its activation on. Open pages are not reloaded.
 */
const scope = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self))

/** Whether a worker of the site itself is in our registration. */
const isShared = () => {
  const {installing, waiting, active} = scope.registration
  return [installing, waiting, active].some(each => each && each.scriptURL !== scope.location.href)
}

scope.addEventListener('install', event => event.waitUntil(isShared() ? Promise.reject() : scope.skipWaiting()))
scope.addEventListener('activate', event =>
  event.waitUntil(
    (async () => {
      const names = await caches.keys()
      await Promise.all(names.filter(name => name.startsWith('edge-sw-')).map(name => caches.delete(name)))
      indexedDB.deleteDatabase('edge-sw')
      if (!isShared()) await scope.registration.unregister()
    })()
  )
)
