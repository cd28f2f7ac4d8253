/** What the tests of the worker share: vectors, stand-ins for what Node lacks, and the parts of a worker put together. */
import {readFileSync} from 'node:fs'
import 'fake-indexeddb/auto'
import {IDBFactory} from 'fake-indexeddb'
import {configure} from '../src/config.js'
import {openSources} from '../src/controllers/sources.js'
import {openState} from '../src/controllers/state.js'
import {openBlockStore} from '../src/models/blockstore.js'
import {openDatabase} from '../src/models/database.js'
import {parseVerifier} from '../src/models/note.js'

export const {subtle} = globalThis.crypto
const read = name => JSON.parse(readFileSync(new URL(name, import.meta.url)))
export const vectors = read('vectors/ledger.json')
export const site = read('vectors/site.json')
export const tlog = read('../../tests/unit/ledger/tlog-vectors.json')

export const bytes = text => Uint8Array.from(Buffer.from(text, 'base64'))
export const bodyOf = ({body, times = 1}) => Uint8Array.from(Buffer.concat(Array(times).fill(Buffer.from(body, 'base64'))))
export const utf8 = text => new TextEncoder().encode(text)

/** Pinned keys, and a quorum. */
export async function trust(quorum = 0) {
  const parse = keys => Promise.all(keys.map(key => parseVerifier(subtle, key)))
  return {logs: await parse(vectors.keys), cosigners: quorum ? await parse(vectors.validators) : [], quorum}
}

/** Cache Storage in memory: what the worker uses of it, and its quirks that matter here. */
export class FakeCaches {
  stores = new Map()
  failing = null

  async open(name) {
    const {stores} = this
    if (!stores.has(name)) stores.set(name, new Map())
    const entries = stores.get(name)
    const keyOf = request => new URL(request.url ?? request, 'https://www.example.org').href
    return {
      match: async request => entries.get(keyOf(request))?.clone(),
      put: async (request, response) => {
        if (this.failing) throw this.failing
        entries.set(keyOf(request), response)
      },
      delete: async request => entries.delete(keyOf(request)),
      keys: async () => [...entries.keys()]
    }
  }

  keys = async () => [...this.stores.keys()]
  delete = async name => this.stores.delete(name)
}

/** The network: what each URL answers; a request for another one fails as a dead server does. */
export class FakeNetwork {
  asked = []
  answers = new Map()

  /** @param {string} url @param {() => Response | Promise<Response>} answer */
  on(url, answer) {
    this.answers.set(url, answer)
    return this
  }

  fetch = async (url, init = {}) => {
    this.asked.push({url, init})
    const answer = this.answers.get(url)
    if (!answer) throw new TypeError('fetch failed')
    init.signal?.throwIfAborted()
    return answer(init)
  }
}

export const API = '/.edge/api/v1'
export const json = said => new Response(JSON.stringify(said), {headers: {'content-type': 'application/json'}})

/** The parts of a worker on stand-ins. `clock.now` can be moved. */
export async function makeParts(changed = {}) {
  const {site: name, keys, origin, salt, now} = vectors
  const config = configure({keys, origin, salt, site: name, version: 'test', ...changed})
  const clock = {now}
  const factory = changed.factory ?? new IDBFactory()
  const db = openDatabase(factory)
  const caches = changed.caches ?? new FakeCaches()
  const network = new FakeNetwork()
  const state = openState(config, subtle, db, () => clock.now)
  await state.ready
  const budget = {bytes: changed.budget ?? 10_000_000}
  const store = openBlockStore(subtle, caches, db, async () => budget.bytes, state.now)
  const sources = openSources(config, subtle, store, state, network.fetch)
  return {config, clock, db, caches, network, state, budget, store, sources, factory}
}

/** Let `network` answer for one of the accepted answers, as the edge or a mirror does. */
export function serve(network, named, base = API) {
  const {key, answer} = named
  const url = base === API ? `${API}/blocks?url=${encodeURIComponent(key)}` : `${base}/blocks/${digestOf(key)}.json`
  network.on(url, () => json(answer))
  network.on(`${base}/bodies/${answer.body}`, () => new Response(bodyOf(named)))
}

const digestOf = key => vectors.digests[key]
