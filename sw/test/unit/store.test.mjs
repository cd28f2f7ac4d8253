/** What is kept in the browser: proved at every read, within its budget, and no page script can change what is served. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {openOutbox} from '../../src/models/outbox.js'
import {hedged, trackHealth} from '../../src/models/mirrors.js'
import {API, bodyOf, json, makeParts, serve, utf8, vectors} from '../support.mjs'

const {page, style} = vectors.accepted
const CACHE = 'edge-sw-blocks-1'

async function seeded(changed) {
  const parts = await makeParts(changed)
  serve(parts.network, page)
  serve(parts.network, style)
  for (const {key} of [page, style]) assert.equal((await parts.sources.edge(key, {}, true)).source, 'edge')
  return parts
}

test('what was seeded is read back, proved, without a network', async () => {
  const {sources, network} = await seeded()
  network.answers.clear()
  const found = await sources.local(page.key)
  assert.equal(Buffer.from(found.body).toString(), 'the second news')
  assert.equal(found.source, 'cache')
  assert.equal(await sources.local('https://www.example.org/other'), null)
})

test('a body out of the HTTP cache is as good as one of the edge, when it is the very one', async () => {
  const {sources, network} = await makeParts()
  serve(network, style)
  network.on(style.key, () => new Response(bodyOf(style)))
  await sources.edge(style.key, {}, true)
  assert(!network.asked.some(({url}) => url.includes('/bodies/')))
  const other = await makeParts()
  serve(other.network, style)
  other.network.on(style.key, () => new Response('p { color: red }'))
  assert(await other.sources.edge(style.key, {}, true))
  assert(other.network.asked.some(({url}) => url.includes('/bodies/')))
})

test('what is kept already is not fetched again', async () => {
  const {sources, network} = await seeded()
  network.asked.length = 0
  assert.equal(await sources.edge(page.key, {}, true), null)
  assert.equal(network.asked.length, 1)
})

for (const [name, tamper, code] of [
  ['the body', async ({caches}) => (await caches.open(CACHE)).put(page.key, new Response('TAMPERED by a page script')), 'body'],
  ['the body is deleted', async ({caches}) => (await caches.open(CACHE)).delete(page.key), 'body'],
  ['the head', ({db}, kept) => db.put('blocks', {...kept, head: btoa('HTTP/1.1 200 OK\r\nX: y\r\n')}), 'head'],
  ['the block', ({db}, kept) => db.put('blocks', {...kept, block: btoa(atob(kept.block).replace('store', 'steal'))}), 'path'],
  ['another page in its place', async ({db}, kept) => db.put('blocks', {...(await db.get('blocks', style.key)), id: kept.id}), 'url'],
  ['the proof', ({db}, kept) => db.put('blocks', {...kept, proof: kept.proof.replace('index 4', 'index 3')}), 'path']
]) {
  test(`tampered with by a page script: ${name}`, async () => {
    const parts = await seeded()
    await tamper(parts, await parts.db.get('blocks', page.key))
    await assert.rejects(parts.sources.local(page.key), error => error.code === code)
    assert.equal(await parts.store.peek(page.key), undefined, 'it is deleted')
    assert(await parts.sources.local(style.key), 'the others stay')
  })
}

test('too old; and turning the clock back makes nothing young again', async () => {
  const {sources, clock, state} = await seeded()
  clock.now += 8 * 86_400_000
  await assert.rejects(sources.local(page.key), /too-old/)
  assert(await sources.edge(page.key, {}, false).catch(error => /too-old/.test(error)))
  await state.order(utf8(vectors.controls['eight days later']), null)
  clock.now = vectors.now
  await assert.rejects(sources.local(page.key), /too-old/)
})

test('the budget holds, and what was used least lately goes first', async () => {
  const {sources, network, store, clock, budget} = await seeded({budget: 5_000})
  clock.now += 1
  assert(await sources.local(page.key))
  clock.now += 1
  budget.bytes = (await store.peek(page.key)).bytes * 2 + 100
  const variant = vectors.accepted['one of several variants']
  serve(network, variant)
  await sources.edge(variant.key, {}, true)
  assert.equal(await store.peek(style.key), undefined)
  assert(await store.peek(page.key))
  assert(await store.peek(variant.key))
})

test('no room: the answer is served all the same', async () => {
  const {sources, network, caches, store} = await makeParts()
  caches.failing = new DOMException('full', 'QuotaExceededError')
  serve(network, page)
  assert.equal((await sources.edge(page.key, {})).source, 'edge')
  assert.equal(await store.peek(page.key), undefined)
  const small = await makeParts({budget: 10})
  serve(small.network, page)
  assert(await small.sources.edge(page.key, {}))
  assert.equal(await small.store.peek(page.key), undefined)
})

test('what is larger than all the room leaves alone what is kept', async () => {
  const {sources, network, store, budget} = await seeded({budget: 5_000})
  const kept = [page, style].map(({key}) => key)
  for (const key of kept) assert(await store.peek(key))
  const variant = vectors.accepted['one of several variants']
  serve(network, variant)
  budget.bytes = 10
  assert.equal((await sources.edge(variant.key, {})).source, 'edge')
  assert.equal(await store.peek(variant.key), undefined)
  for (const key of kept) assert(await store.peek(key))
})

test('the edge may show less than before to nobody; a mirror may, but no older version of the same page', async () => {
  const {sources, network} = await makeParts()
  serve(network, vectors.accepted['page, later checkpoint'])
  await sources.edge(page.key, {}, true)
  serve(network, page)
  await assert.rejects(sources.edge(page.key, {}), /rolled-back/)
  const base = 'https://mirror.example'
  serve(network, vectors.accepted['page, earlier checkpoint'], base)
  assert.equal((await sources.mirror(base, page.key, {})).source, 'mirror')
  serve(network, vectors.accepted['page, earlier version'], base)
  await assert.rejects(sources.mirror(base, page.key, {}), /rolled-back/)
})

test('mirrors: a lie is refused; no trace of the visitor is shown to them', async () => {
  const {sources, network} = await makeParts()
  const base = 'https://mirror.example'
  serve(network, page, base)
  network.on(`${base}/bodies/${page.answer.body}`, () => new Response('the second newt'))
  await assert.rejects(sources.mirror(base, page.key, {traceparent: 'x'}), error => error.code === 'body')
  for (const {init} of network.asked) {
    assert.equal(init.credentials, 'omit')
    assert.equal(init.referrerPolicy, 'no-referrer')
  }
})

test('answers are bounded in size', async () => {
  const {sources, network} = await makeParts()
  serve(network, page)
  network.on(`${API}/bodies/${page.answer.body}`, () => new Response(new Uint8Array(1_000_000)))
  await assert.rejects(sources.edge(page.key, {}), /too-long/)
  network.on(`${API}/blocks?url=${encodeURIComponent(page.key)}`, () => json({block: 'A'.repeat(2 << 20)}))
  await assert.rejects(sources.edge(page.key, {}), /too-long/)
})

test('what is no answer of ours is an error, and no page', async () => {
  const {sources, network} = await makeParts()
  const url = `${API}/blocks?url=${encodeURIComponent(page.key)}`
  for (const answer of ['{}', '[]', '{"block":1}', 'x', '\xff']) {
    network.on(url, () => new Response(answer))
    await assert.rejects(sources.edge(page.key, {}))
  }
  network.on(url, () => new Response('', {status: 404}))
  assert.equal(await sources.edge(page.key, {}), undefined)
})

test('the first good answer wins, slow ones are overtaken, and nobody waits for the rest', async () => {
  const later = (ms, value) => () => new Promise(resolve => setTimeout(resolve, ms, value))
  const never = () => new Promise(() => {})
  const fails = () => Promise.reject(new Error('no'))
  assert.equal(await hedged([[10, fails], [10, later(0, null)], [10, later(5, 'third')]]), 'third')
  assert.equal(await hedged([[5, later(20, 'slow first')], [10_000, later(500, 'slower')]]), 'slow first')
  assert.equal(await hedged([[5, never], [5, later(0, 'second')]]), 'second')
  assert.equal(await hedged([[5, fails], [5, later(0, null)]]), null)
  assert.equal(await hedged([]), null)
  let signal
  await hedged([[1, given => ((signal = given), never())], [10, later(0, 'x')]])
  assert(signal.aborted)
})

test('mirrors that failed are asked last and less often; liars are left alone for an hour', () => {
  let now = 0
  const health = trackHealth(() => now)
  health.failed('a', false)
  assert.deepEqual(health.order(['a', 'b', 'c']), ['b', 'c'])
  now = 30_000
  assert.deepEqual(health.order(['a', 'b', 'c']), ['b', 'c', 'a'])
  health.failed('a', false)
  now += 59_999
  assert.deepEqual(health.order(['a', 'b']), ['b'])
  health.failed('b', true)
  now += 3_599_999
  assert.deepEqual(health.order(['a', 'b']), ['a'])
  health.succeeded('b')
  assert.deepEqual(health.order(['a', 'b']), ['b', 'a'])
})

test('the outbox keeps two hundred, for a week, under their ids', async () => {
  const {db, clock} = await makeParts()
  const outbox = openOutbox(db, 'receipts', () => clock.now)
  for (let count = 0; count < 205; count++) {
    clock.now++
    await outbox.add({id: `r${count}`, n: count})
  }
  const waiting = await outbox.queued()
  assert.equal(waiting.length, 200)
  assert.equal(waiting[0].n, 5)
  await outbox.add({id: 'r204', n: 204})
  assert.equal((await outbox.queued()).length, 200)
  await outbox.remove(waiting.slice(0, 199))
  assert.equal((await outbox.queued()).length, 1)
  clock.now += 7 * 86_400_000
  assert.equal((await outbox.queued()).length, 0)
})
