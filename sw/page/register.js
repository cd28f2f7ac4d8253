/**
 * Owns: registering the worker, telling it what the page was made of, and showing the banner when something was recovered.
 * Its constants come from its own tag and from the line that the edge puts in front (`EDGE_PAGE`).
 *
 * Never reloads, never blocks rendering, never throws into the page; a worker that is not ours is left alone.
 */
;(() => {
  const SCRIPT = '/.edge/sw.js'
  const MOST = 200
  const OFF = 'edge-sw'
  const page = /** @type {any} */ (self).EDGE_PAGE ?? {}
  const {edgeState, edgeSource, edgeFetchedAt} = document.currentScript?.dataset ?? {}
  const workers = navigator.serviceWorker

  /** Tell the edge how it went, once a visit: a count, nothing about the visitor. @param {string} outcome */
  const report = outcome => {
    try {
      if (sessionStorage.getItem(OFF) === outcome) return
      sessionStorage.setItem(OFF, outcome)
      navigator.sendBeacon('/.edge/api/v1/receipts', JSON.stringify({register: outcome}))
    } catch {
      // No storage: no report, else there would be one on every page.
    }
  }

  /** @param {{source: string, fetchedAt: number | string, isPart: boolean}} said */
  const show = async said => {
    try {
      // The path is put together, so that no bundler follows it.
      await import(/* @vite-ignore */ SCRIPT.replace('sw', 'ui/banner'))
      const known = document.querySelector('edge-banner')
      const banner = /** @type {any} */ (known ?? document.createElement('edge-banner'))
      if (!known) document.body.append(banner)
      banner.show(said)
    } catch {
      // The page matters more than the banner.
    }
  }

  /** Of its newest worker: a site's own may wait in the registration that was ours. @param {ServiceWorkerRegistration} registration */
  const pathOf = registration =>
    new URL((registration.installing ?? registration.waiting ?? registration.active)?.scriptURL ?? '/', location.href).pathname

  /** Whether this visitor, or the edge, wants no worker. */
  const isOff = () => {
    const asked = new URLSearchParams(location.search).get(OFF)
    try {
      if (asked === 'on') localStorage.removeItem(OFF)
      else if (asked) localStorage.setItem(OFF, asked)
      if (localStorage.getItem(OFF) === 'off') return true
    } catch {
      if (asked === 'off') return true
    }
    return ['kill', 'off'].includes(page.mode) || page.percent === 0
  }

  const seed = async () => {
    const {active} = await workers.ready
    const names = performance.getEntriesByType('resource').map(entry => entry.name)
    const own = [location.href, ...names].filter(url => new URL(url).origin === location.origin)
    active?.postMessage({type: 'edge:seed', urls: [...new Set(own)].slice(0, MOST)})
  }

  const register = async () => {
    const all = await workers.getRegistrations()
    const ours = all.filter(each => pathOf(each) === SCRIPT)
    if (isOff()) {
      await Promise.all(ours.map(each => each.unregister()))
      if (ours.length) report('killed')
      return
    }
    if (all.some(each => each.scope === `${location.origin}/` && pathOf(each) !== SCRIPT)) {
      report('foreign_sw')
      return
    }
    let url = SCRIPT
    try {
      const types = /** @type {any} */ (self).trustedTypes
      if (types) url = types.createPolicy(OFF, {createScriptURL: (/** @type {string} */ asked) => (asked === SCRIPT ? asked : '')}).createScriptURL(SCRIPT)
    } catch {
      // Not among the page's policies: the plain text may do, or `register` says so.
    }
    try {
      // Once it is there the browser looks for updates by itself; to register again could take the place of one of the site's own.
      if (!ours.length) {
        await workers.register(url, {scope: '/', updateViaCache: 'none'})
        report('registered')
      }
    } catch (error) {
      report(error instanceof TypeError ? 'tt_blocked' : 'error')
      return
    }
    if (!edgeState) await seed()
  }

  const idle = self.requestIdleCallback ?? setTimeout
  const start = () => {
    if (document.readyState === 'complete') idle(() => register().catch(() => report('error')))
    else addEventListener('load', start, {once: true})
  }

  try {
    if (edgeState) void show({source: edgeSource ?? '', fetchedAt: edgeFetchedAt ?? '', isPart: false})
    if (self !== top) return
    if (!isSecureContext || !workers) {
      report(isSecureContext ? 'unsupported' : 'insecure')
      return
    }
    workers.addEventListener('message', ({data}) => {
      if (data?.type === 'edge:state') void show({...data, isPart: true})
    })
    if (/** @type {any} */ (document).prerendering) document.addEventListener('prerenderingchange', start, {once: true})
    else start()
  } catch {
    report('error') // a sandbox, where even asking throws
  }
})()
