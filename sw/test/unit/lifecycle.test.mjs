/** Installation, the shell, orders, and the end of a worker. */
import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {test} from 'node:test'
import {openControl} from '../../src/controllers/control.js'
import {openLifecycle} from '../../src/controllers/lifecycle.js'
import {openMessages} from '../../src/controllers/message.js'
import {trackHealth} from '../../src/models/mirrors.js'
import {FakeCaches, makeParts, vectors} from '../support.mjs'

const ORIGIN = 'https://www.example.org'
const PATH = '/.edge/ui/register.js'
const SCRIPT = 'console.log("register")\n'
const PREAMBLE = 'self.EDGE_PAGE={"mode":"on","percent":100};\n'
const SCRIPTS = {[PATH]: createHash('sha256').update(SCRIPT).digest('hex').slice(0, 32)}

function scene() {
  const done = []
  const caches = new FakeCaches()
  const scope = {
    caches,
    crypto: globalThis.crypto,
    location: {origin: ORIGIN, href: `${ORIGIN}/.edge/sw.js`},
    skipWaiting: async () => done.push('skipped'),
    clients: {claim: async () => done.push('claimed')},
    registration: {unregister: async () => done.push('unregistered')}
  }
  return {scope, caches, done, lifecycle: openLifecycle(scope, '2', SCRIPTS)}
}

async function ask(lifecycle, network, url = ORIGIN + PATH) {
  const before = globalThis.fetch
  globalThis.fetch = network
  let given
  try {
    const isTaken = lifecycle.handle({request: {method: 'GET', url}, respondWith: response => (given = response)})
    return isTaken ? await given : null
  } finally {
    globalThis.fetch = before
  }
}

const dead = () => Promise.reject(new TypeError('fetch failed'))
const hold = async (caches, text) => (await caches.open('edge-sw-shell-2')).put(PATH, new Response(text))

test('the page scripts come from the edge while it is there', async () => {
  const {lifecycle} = scene()
  const response = new Response('fresh')
  assert.equal(await ask(lifecycle, async () => response), response)
  assert.equal(await ask(lifecycle, dead, `${ORIGIN}/other.js`), null)
  assert.equal(await ask(lifecycle, dead, `https://elsewhere.example${PATH}`), null)
})

for (const [name, network] of [['dead', dead], ['broken', async () => new Response('', {status: 502})]]) {
  test(`the edge is ${name}: they come from the shell, when they are what the worker was built with`, async () => {
    const {lifecycle, caches} = scene()
    assert.equal((await ask(lifecycle, network)).type, 'error', 'there is nothing yet')
    await hold(caches, PREAMBLE + SCRIPT)
    const response = await ask(lifecycle, network)
    assert.equal(await response.text(), SCRIPT)
    assert.equal(response.headers.get('content-type'), 'text/javascript')
    for (const text of [`${SCRIPT}evil()`, `self.EDGE_PAGE=evil();\nevil()\n${SCRIPT}`, '']) {
      await hold(caches, text)
      assert.equal((await ask(lifecycle, network)).type, 'error')
    }
    await hold(caches, `self.EDGE_PAGE=evil();\n${SCRIPT}`)
    assert.equal(await (await ask(lifecycle, network)).text(), SCRIPT, 'the line before is not kept')
  })
}

test('installation: at once, with routes where the browser has them, and without a shell too', async () => {
  const {lifecycle, done} = scene()
  for (const addRoutes of [undefined, async rule => done.push(rule.source), () => Promise.reject(new TypeError('no such source'))]) {
    let waited
    lifecycle.install({addRoutes, waitUntil: promise => (waited = promise)})
    await waited
  }
  assert.deepEqual(done.filter(each => each !== 'skipped'), ['race-network-and-fetch-handler'])
})

for (const place of ['installing', 'waiting', 'active']) {
  test(`the site's own worker is ${place} in our registration: ours is not installed over it, and a kill leaves it there`, async () => {
    const {scope, lifecycle, caches, done} = scene()
    Object.assign(scope.registration, {active: {scriptURL: scope.location.href}, [place]: {scriptURL: `${ORIGIN}/worker.js`}})
    let waited
    lifecycle.install({waitUntil: promise => (waited = promise)})
    await assert.rejects(waited)
    const mirrors = ['https://mirror.example']
    const parts = await makeParts({mirrors})
    parts.network.on(`${mirrors[0]}/control`, () => new Response(vectors.controls.newer))
    parts.network.on('/.edge/api/v1/control', dead)
    await caches.open('edge-sw-blocks-1')
    await openControl(scope, parts.db, parts.state, parts.sources, trackHealth(parts.state.now))()
    assert.equal(parts.state.mode(), 'kill')
    assert.deepEqual([await caches.keys(), done], [[], []])
  })
}

test('activation: clients are taken over, shells of other versions go, what was kept stays', async () => {
  const {lifecycle, caches, done} = scene()
  for (const name of ['edge-sw-shell-1', 'edge-sw-shell-2', 'edge-sw-blocks-1', 'edge-of-the-site', 'other']) await caches.open(name)
  await lifecycle.activate()
  assert.deepEqual(await caches.keys(), ['edge-sw-shell-2', 'edge-sw-blocks-1', 'edge-of-the-site', 'other'])
  assert.deepEqual(done, ['claimed'])
})

test('orders: of the edge, else of a mirror, every five minutes; a kill takes our things and no others', async () => {
  const mirrors = ['https://mirror.example']
  const parts = await makeParts({mirrors})
  const {scope, caches, done} = scene()
  for (const name of ['edge-sw-blocks-1', 'edge-of-the-site']) await caches.open(name)
  const refresh = openControl(scope, parts.db, parts.state, parts.sources, trackHealth(parts.state.now))
  await refresh()
  assert.equal(parts.state.mode(), 'on')
  parts.network.on(`${mirrors[0]}/control`, () => new Response(vectors.controls.newer))
  await refresh()
  assert.equal(parts.state.mode(), 'on', 'it was asked just now')
  parts.clock.now += 300_001
  await refresh()
  assert.equal(parts.state.mode(), 'kill')
  assert.deepEqual(await caches.keys(), ['edge-of-the-site'])
  assert.deepEqual(done, ['unregistered'])
  assert.equal(parts.state.token(), '', 'mirrors give no token')
  // What was just being kept while it left goes with the next request, without another question.
  await caches.open('edge-sw-blocks-1')
  parts.network.on(`${mirrors[0]}/control`, () => assert.fail('asked'))
  await refresh()
  assert.deepEqual(await caches.keys(), ['edge-of-the-site'])
  await assert.rejects(parts.db.get('meta', 'control'))
})

test('a kill that was interrupted goes on in the next worker', async () => {
  const parts = await makeParts({})
  parts.network.on('/.edge/api/v1/control', () => new Response(vectors.controls.newer))
  const first = scene()
  await first.caches.open('edge-sw-blocks-1')
  // The orders are kept before they are followed; here the worker ends, and nothing was deleted.
  await parts.sources.control('/.edge/api/v1')
  assert.equal(parts.state.mode(), 'kill')
  const next = await makeParts({factory: parts.factory})
  assert.equal(next.state.mode(), 'kill')
  await openControl(first.scope, next.db, next.state, next.sources, trackHealth(next.state.now))()
  assert.deepEqual([await first.caches.keys(), first.done], [[], ['unregistered']])
})

test('messages of pages: what they may ask, and nothing else', async () => {
  const asked = []
  const onMessage = openMessages({take: async urls => asked.push(urls)}, {flush: async isAsked => asked.push(isAsked)}, async () => asked.push('refresh'))
  for (const data of [null, 7, {}, {type: 'edge:kill'}, {type: 'edge:seed', urls: ['x']}, {type: 'edge:flush'}]) {
    const waited = []
    onMessage({data, waitUntil: promise => waited.push(promise)})
    await Promise.all(waited)
  }
  assert.deepEqual(asked, ['refresh', ['x'], true])
})
