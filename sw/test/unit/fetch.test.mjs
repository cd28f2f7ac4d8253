/** What is taken, what a failing network leads to, and what is told about it. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {faultOf, mayHandle, openFetch} from '../../src/controllers/fetch.js'
import {openRecovery} from '../../src/controllers/recovery.js'
import {openReports} from '../../src/controllers/reports.js'
import {openSeed} from '../../src/controllers/seed.js'
import {trackHealth} from '../../src/models/mirrors.js'
import {openOutbox} from '../../src/models/outbox.js'
import {API, makeParts, serve, vectors} from '../support.mjs'

const ORIGIN = 'https://www.example.org'
const {page, style} = vectors.accepted

/** A request as a browser makes it; Node's own knows no navigations. */
const request = (url, changed = {}) => ({
  method: 'GET',
  url,
  headers: new Headers(changed.headers),
  cache: 'default',
  mode: 'no-cors',
  destination: 'style',
  signal: new AbortController().signal,
  ...changed,
  ...(changed.headers && {headers: new Headers(changed.headers)})
})
const navigation = {mode: 'navigate', destination: 'document'}

for (const [name, isTaken, changed, url = `${ORIGIN}/a`] of [
  ['a page', true, navigation],
  ['a part of it', true, {}],
  ['a POST', false, {method: 'POST'}],
  ['a HEAD', false, {method: 'HEAD'}],
  ['another origin', false, {}, 'https://elsewhere.example/a'],
  ['another port', false, {}, `${ORIGIN}:8443/a`],
  ['with a password', false, {headers: {authorization: 'Basic x'}}],
  ['an event stream', false, {headers: {accept: 'text/event-stream'}}],
  ['a part of a file', false, {headers: {range: 'bytes=0-'}}],
  ['only if cached', false, {cache: 'only-if-cached'}],
  ['our own paths', false, {}, `${ORIGIN}/.edge/api/v1/control`],
  ['the ledger', false, {}, `${ORIGIN}/.edge/ledger/checkpoint`],
  ['a visitor who wants no worker', false, navigation, `${ORIGIN}/a?edge-sw=off`]
]) {
  test(`taken or not: ${name}`, () => assert.equal(mayHandle(request(url, changed), ORIGIN, false), isTaken))
}

test('parts of media are taken only when there is trouble', () => {
  assert(mayHandle(request(`${ORIGIN}/a`, {headers: {range: 'bytes=0-'}}), ORIGIN, true))
})

test('which answers are failures', () => {
  const fault = (status, headers = {}) => faultOf({status, headers: new Headers(headers)})
  assert.deepEqual([500, 502, 503, 504].map(status => fault(status)), ['status-500', 'status-502', 'status-503', 'status-504'])
  for (const status of [0, 200, 206, 301, 304, 401, 404, 429, 501, 505]) assert.equal(fault(status), '')
  assert.equal(fault(503, {'x-edge-final': '1'}), '')
})

/** A worker on stand-ins. `answers` is what the network says to `fetch(request)`. */
async function worker(changed, answer) {
  const parts = await makeParts({limits: {navigation: 30, resource: 30, edge: 200, hedge: 20, local: 20}, ...changed})
  const posted = []
  const ended = []
  const scope = {location: {origin: ORIGIN}, clients: {get: async id => ({postMessage: said => posted.push([id, said])})}}
  const receipts = openOutbox(parts.db, 'receipts', parts.state.now)
  const traces = openOutbox(parts.db, 'spans', parts.state.now)
  const reports = openReports(parts.config, parts.state, parts.sources, receipts, traces)
  const recover = openRecovery(parts.config, parts.sources, trackHealth(parts.state.now), parts.state)
  const onFetch = openFetch(scope, parts.config, parts.state, recover, reports, async (...what) => ended.push(what))
  const ask = async (url, asked = {}) => {
    const before = globalThis.fetch
    globalThis.fetch = answer
    let given
    const waited = []
    try {
      onFetch({request: request(url, asked), clientId: 'client-1', respondWith: response => (given = response), waitUntil: each => waited.push(each)})
      const response = await Promise.resolve(given).catch(error => error)
      await Promise.all(waited)
      return response
    } finally {
      globalThis.fetch = before
    }
  }
  return {...parts, ask, posted, ended, receipts, traces, reports}
}

const spansOf = ([{body}]) => JSON.parse(body).resourceSpans[0].scopeSpans[0].spans
const dead = () => Promise.reject(new TypeError('fetch failed'))

test('a healthy network is left as it is', async () => {
  const response = new Response('fine')
  const {ask, receipts, ended} = await worker({}, async () => response)
  assert.equal(await ask(page.key), response)
  assert.equal((await receipts.queued()).length, 0)
  assert.equal(ended.length, 1)
})

for (const [cause, answer] of [
  ['network', dead],
  ['status-502', async () => new Response('broken', {status: 502, headers: {'server-timing': 'edge;dur=1, traceparent;desc="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"'}})],
  ['timeout', () => new Promise(() => {})]
]) {
  test(`the store answers after: ${cause}`, async () => {
    const {ask, receipts, traces, network, sources, posted} = await worker({}, answer)
    serve(network, style)
    await sources.edge(style.key, {}, true)
    network.answers.clear()
    const response = await ask(style.key)
    assert.equal(await response.text(), 'p { color: teal }')
    assert.equal(response.headers.get('x-edge-recovery'), 'cache')
    const [receipt] = await receipts.queued()
    assert.deepEqual([receipt.source, receipt.cause, receipt.block, receipt.dest, receipt.url], ['cache', cause, 2, 'style', style.key])
    const spans = spansOf(await traces.queued())
    assert.equal(receipt.trace, spans[0].traceId)
    if (cause === 'status-502') assert.deepEqual([spans[0].traceId, spans[0].parentSpanId], ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'])
    assert.deepEqual(posted, [['client-1', {type: 'edge:state', state: 'recovered', url: style.key, source: 'cache', fetchedAt: vectors.now - 1000 + 2}]])
  })
}

test('the edge answers when the store cannot, and its span goes on from ours', async () => {
  const {ask, network, traces} = await worker({}, dead)
  serve(network, style)
  assert.equal((await ask(style.key)).headers.get('x-edge-recovery'), 'edge')
  const spans = spansOf(await traces.queued())
  const span = spans.find(each => each.name === 'edge.sw.edge')
  assert.equal(network.asked[0].init.headers.traceparent, `00-${span.traceId}-${span.spanId}-01`)
})

test('mirrors answer when the edge is dead; what lies is reported and passed over', async () => {
  const mirrors = ['https://liar.example', 'https://mirror.example']
  const {ask, network, receipts} = await worker({mirrors}, dead)
  serve(network, style, mirrors[0])
  network.on(`${mirrors[0]}/bodies/${style.answer.body}`, () => new Response('p { color: taal }'))
  serve(network, style, mirrors[1])
  const response = await ask(style.key)
  assert.equal(response.headers.get('x-edge-recovery'), 'mirror')
  assert.equal(await response.text(), 'p { color: teal }')
  const told = (await receipts.queued()).map(({source, cause}) => `${source} ${cause}`)
  assert.deepEqual(told.sort(), ['mirror mirror-bad', 'mirror network'])
})

test('a tampered store is reported, and the next source answers', async () => {
  const {ask, network, receipts, sources, caches} = await worker({}, dead)
  serve(network, style)
  await sources.edge(style.key, {}, true)
  await (await caches.open('edge-sw-blocks-1')).put(style.key, new Response('TAMPERED'))
  assert.equal(await (await ask(style.key)).text(), 'p { color: teal }')
  const told = (await receipts.queued()).map(({source, cause}) => `${source} ${cause}`)
  assert.deepEqual(told.sort(), ['cache cache-bad', 'edge network'])
})

test('nothing known: the original answer, or the offline page, or a failed request', async () => {
  const original = new Response('broken', {status: 503})
  assert.equal(await (await worker({}, async () => original)).ask(page.key), original)
  const {ask, receipts} = await worker({}, dead)
  assert.equal((await ask(page.key, navigation)).status, 503)
  assert.equal((await ask(page.key)).type, 'error')
  assert.deepEqual((await receipts.queued()).map(each => [each.source, each.block]), [['none', null], ['none', null]])
})

test('after a deadline, a network that wakes up is as good as a copy', async () => {
  const late = new Response('late')
  const {ask, network, receipts} = await worker({}, () => new Promise(resolve => setTimeout(resolve, 80, late)))
  network.on(`${API}/blocks?url=${encodeURIComponent(page.key)}`, () => new Promise(() => {}))
  assert.equal(await ask(page.key), late)
  assert.equal((await receipts.queued()).length, 0)
})

test('observe: seen, reported, nothing changed', async () => {
  const original = new Response('broken', {status: 503})
  const {ask, receipts, network, sources} = await worker({mode: 'observe'}, async () => original)
  serve(network, page)
  await sources.edge(page.key, {}, true)
  assert.equal(await ask(page.key), original)
  assert.deepEqual((await receipts.queued()).map(each => [each.source, each.cause]), [['none', 'status-503']])
  const gone = await worker({mode: 'observe'}, dead)
  assert((await gone.ask(page.key)) instanceof TypeError)
})

for (const mode of ['bypass', 'kill']) {
  test(`${mode}: no request is even touched, but orders are asked for: they may change`, async () => {
    const {ask, ended} = await worker({mode}, () => assert.fail('asked'))
    assert.equal(await ask(page.key), undefined)
    assert.deepEqual(ended.map(([{url}, response]) => [url, response]), [[page.key, undefined]])
  })
}

test('a request that the page gave up is no failure', async () => {
  const ended = new AbortController()
  ended.abort()
  const {ask, receipts} = await worker({}, dead)
  assert((await ask(page.key, {signal: ended.signal})) instanceof TypeError)
  assert.equal((await receipts.queued()).length, 0)
})

test('receipts and spans go out when the edge is back, once', async () => {
  const {ask, network, reports, receipts, traces, state} = await worker({}, dead)
  for (let count = 0; count < 17; count++) await ask(`${ORIGIN}/${count}`)
  await reports.flush()
  assert.equal((await receipts.queued()).length, 17, 'the edge is not there')
  const got = []
  network.on(`${API}/control`, () => new Response(vectors.controls.good, {headers: {'edge-receipt-token': 'token-7'}}))
  network.on(`${API}/receipts`, ({body}) => (got.push(JSON.parse(body)), new Response('{}', {status: 202})))
  network.on('/.edge/otlp/v1/traces', () => new Response('{}'))
  await reports.flush()
  assert.equal(got.length, 0, 'not again within 30 s')
  await reports.flush(true)
  assert.deepEqual(got.map(each => [each.token, each.receipts.length]), [['token-7', 15], ['token-7', 2]])
  assert.equal(new Set(got.flatMap(each => each.receipts.map(receipt => receipt.id))).size, 17)
  assert.equal((await receipts.queued()).length + (await traces.queued()).length, 0)
  assert.equal(state.token(), 'token-7')
})

test('what a script of the page put among them is thrown away, and holds up nothing', async () => {
  const {ask, network, reports, receipts, traces, db, state} = await worker({}, dead)
  await ask(page.key)
  await db.put('receipts', {id: 'x', at: state.now() * 2, url: {}})
  await db.put('spans', {id: 'y', at: state.now(), spans: 7})
  network.on(`${API}/control`, () => new Response(vectors.controls.good, {headers: {'edge-receipt-token': 'token'}}))
  network.on(`${API}/receipts`, () => new Response('', {status: 400}))
  network.on('/.edge/otlp/v1/traces', ({body}) => new Response('', {status: body ? 200 : 400}))
  await reports.flush(true)
  assert.equal((await receipts.queued()).length + (await traces.queued()).length, 0)
})

test('a token that is refused is dropped, and the receipts wait', async () => {
  const {ask, network, reports, receipts, state} = await worker({}, dead)
  await ask(page.key)
  network.on(`${API}/control`, () => new Response(vectors.controls.good, {headers: {'edge-receipt-token': 'old'}}))
  network.on(`${API}/receipts`, () => new Response('', {status: 403}))
  network.on('/.edge/otlp/v1/traces', () => new Response('', {status: 429}))
  await reports.flush(true)
  assert.equal(state.token(), '')
  assert.equal((await receipts.queued()).length, 1)
  network.on(`${API}/receipts`, () => new Response('', {status: 400}))
  await reports.flush(true)
  assert.equal((await receipts.queued()).length, 0, 'what is malformed today is so tomorrow')
})

test('seeding: what a page lists, each once, and only of this site', async () => {
  const {config, state, store, sources, network} = await makeParts()
  const seed = openSeed(ORIGIN, config, state, store, sources)
  serve(network, page)
  serve(network, style)
  await seed.take([page.key, `${page.key}#part`, style.key, 'https://elsewhere.example/x', `${ORIGIN}/.edge/ui/register.js`, 7, null, 'x'])
  assert.equal(network.asked.filter(({url}) => url.includes('/blocks?')).length, 2)
  assert((await store.peek(page.key)) && (await store.peek(style.key)))
  network.asked.length = 0
  await seed.take([page.key])
  await seed.take('nonsense')
  assert.equal(network.asked.length, 0)
})

test('what passes by is kept when it is out of a block that is not known yet', async () => {
  const {config, state, store, sources, network} = await makeParts()
  const seed = openSeed(ORIGIN, config, state, store, sources)
  serve(network, style)
  const passing = (headers, changed = {}) => seed.passedBy(style.key, {status: 200, type: 'basic', headers: new Headers(headers), ...changed})
  await passing({})
  await passing({'edge-block': '2'}, {status: 206})
  await passing({'edge-block': '2'}, {type: 'opaque'})
  assert.equal(network.asked.length, 0)
  await passing({'edge-block': '2'})
  assert(await store.peek(style.key))
  network.asked.length = 0
  await passing({'edge-block': '2'})
  assert.equal(network.asked.length, 0)
  await passing({'edge-block': '3'})
  assert.equal(network.asked.length, 1)
})

test('what was stored just now has no block yet: it is asked for once more, whoever asked first', async () => {
  for (const first of ['page', 'passing']) {
    const {config, state, store, sources, network} = await makeParts({limits: {moment: 5}})
    const seed = openSeed(ORIGIN, config, state, store, sources)
    let asked = 0
    serve(network, style)
    const url = `${API}/blocks?url=${encodeURIComponent(style.key)}`
    const there = network.answers.get(url)
    network.on(url, () => (asked++ ? there() : new Response('', {status: 404})))
    if (first === 'page') await seed.take([style.key])
    else await seed.passedBy(style.key, {status: 200, type: 'basic', headers: new Headers({'cache-status': 'edgeproxy;fwd=uri-miss;stored'})})
    assert(await store.peek(style.key), first)
    assert.equal(asked, 2)
    await seed.take([`${ORIGIN}/absent`])
    assert.equal(network.asked.filter(({url: each}) => each.includes('absent')).length, 1, 'a network that fails is another matter')
  }
})

test('a network that failed a moment ago is given up soon', {timeout: 20_000}, async () => {
  let answer = dead
  const {ask, network, sources} = await worker({limits: {navigation: 60_000, resource: 60_000, edge: 20, local: 20}}, () => answer())
  serve(network, style)
  await sources.edge(style.key, {}, true)
  await ask(style.key)
  answer = () => new Promise(() => {})
  // Long before the test's own end.
  assert.equal((await ask(style.key)).headers.get('x-edge-recovery'), 'cache')
})
