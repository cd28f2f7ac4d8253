/** Orders of the edge: whose, which of two, for whom; and that a script of the page can give none. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {mayOrder, modeFor, openControl} from '../../src/models/policy.js'
import {Refused} from '../../src/models/refused.js'
import {makeParts, subtle, trust, utf8, vectors} from '../support.mjs'

const {controls, origin, site} = vectors
const open = async text => openControl(subtle, utf8(text), (await trust()).logs)

test('a control document says what the edge said', async () => {
  const said = await open(controls.good)
  assert.deepEqual([said.serial, said.mode, said.percent, said.site, said.origin], [7, 'on', 100, site, origin])
  assert.deepEqual(said.mirrors, ['https://mirror.example'])
})

for (const [name, [text, code]] of Object.entries(controls.refused)) {
  test(`refused: ${name}`, () => assert.rejects(open(text), error => error instanceof Refused && error.code === code))
}

test('serials only grow, and one serial says one thing', async () => {
  const [good, newer, older, other, elsewhere] = await Promise.all(
    ['good', 'newer', 'older', 'same serial, other orders', 'another site'].map(name => open(controls[name]))
  )
  mayOrder(newer, good, {origin, site})
  mayOrder(good, good, {origin, site})
  mayOrder(older, null, {origin, site})
  for (const bad of [older, other]) assert.throws(() => mayOrder(bad, good, {origin, site}), /rolled-back/)
  assert.throws(() => mayOrder(elsewhere, good, {origin, site}), /control/)
  assert.throws(() => mayOrder(newer, good, {origin: 'other', site}), /control/)
})

test('a percentage that grows takes in more and leaves nobody out; a kill is for all', () => {
  const at = percent => Array.from({length: 100}, (_, bucket) => modeFor({mode: 'on', percent}, bucket) === 'on')
  assert.equal(at(0).filter(Boolean).length, 0)
  assert.equal(at(30).filter(Boolean).length, 30)
  assert(at(60).every((isOn, bucket) => isOn || !at(30)[bucket]))
  assert.equal(modeFor({mode: 'kill', percent: 0}, 99), 'kill')
})

test('orders are kept, and proved again at the next start', async () => {
  const first = await makeParts()
  await first.state.order(utf8(controls.good), 'token-1')
  await first.state.order(utf8(controls.newer), null)
  assert.equal(first.state.mode(), 'kill')
  const second = await makeParts({factory: first.factory})
  assert.equal(second.state.mode(), 'kill')
  assert.equal(second.state.token(), 'token-1')
  await assert.rejects(second.state.order(utf8(controls.good), null), /rolled-back/)
})

test('a script of the page cannot give orders', async () => {
  const first = await makeParts()
  await first.state.order(utf8(controls.good), 'token-1')
  await first.db.put('meta', {id: 'control', value: utf8(controls.refused["a stranger's"][0]), token: ''})
  await first.db.put('meta', {id: 'seen', value: 'nonsense'})
  const second = await makeParts({factory: first.factory})
  assert.equal(second.state.mode(), 'on')
})

test('validators that the script pins are not weakened by an order', async () => {
  const {state} = await makeParts({validators: {quorum: 3, keys: vectors.validators}})
  await state.order(utf8(controls['with validators']), null)
  assert.equal(state.trust().quorum, 3)
  const free = (await makeParts()).state
  await free.order(utf8(controls['with validators']), null)
  assert.equal(free.trust().quorum, 2)
})

test('a validator whose kind of key is unknown does not count, and does not keep the others from counting', async () => {
  const strange = 'validator-9.example+00000000+BgAA'
  const {state} = await makeParts({validators: {quorum: 2, keys: [strange, ...vectors.validators]}})
  assert.equal(state.trust().cosigners.length, vectors.validators.length)
  assert.equal(state.trust().quorum, 2)
})

test('the clock does not go back behind what was proved to have happened', async () => {
  const {state, clock, factory} = await makeParts()
  await state.order(utf8(controls.newer), null)
  clock.now -= 86_400_000 * 365
  assert.equal(state.now(), vectors.now - 1000 + 8)
  const later = await makeParts({factory})
  assert(later.state.now() >= vectors.now)
})

test('without Ed25519 there is no trust, and nothing fails', async () => {
  const {state, sources} = await makeParts({keys: ['broken']})
  assert.equal(state.trust(), null)
  await assert.rejects(sources.local('https://www.example.org/news'), error => !(error instanceof Refused))
})
