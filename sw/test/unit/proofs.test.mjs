/** What the ledger writes is proved; what is changed in any way is refused, with the reason that fits. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import * as ed from '@noble/ed25519'
import {mayFollow, openCheckpoint} from '../../src/models/checkpoint.js'
import {fromBase64, hex} from '../../src/models/digest.js'
import {parseProof, proveBlock, proveBody} from '../../src/models/evidence.js'
import {leafHash, verifyInclusion} from '../../src/models/merkle.js'
import {openNote, parseNote, parseVerifier} from '../../src/models/note.js'
import {Refused} from '../../src/models/refused.js'
import {urlDigest, urlKey} from '../../src/models/url.js'
import {bodyOf, bytes, subtle, tlog, trust, utf8, vectors} from '../support.mjs'

const salt = bytes(vectors.salt)
const refusal = code => error => {
  assert(error instanceof Refused, String(error))
  assert.equal(error.code, code)
  return true
}

async function prove({key, answer, quorum = 0, ...said}) {
  const proven = await proveBlock(subtle, answer, {key, salt, trust: await trust(quorum), now: vectors.now})
  await proveBody(subtle, proven.entry, bodyOf(said))
  return proven
}

for (const [name, said] of Object.entries(vectors.accepted)) {
  test(`accepted: ${name}`, async () => {
    const {entry, headers, checkpoint} = await prove(said)
    assert.equal(entry.height, said.answer.height)
    assert.equal(hex(entry.body), said.answer.body)
    assert.equal(headers.get('age'), '3')
    assert.equal(checkpoint.origin, vectors.origin)
  })
}

for (const {name, code, ...said} of vectors.refused) {
  test(`refused: ${name}`, () => assert.rejects(prove(said), refusal(code)))
}

test('validators that are asked for and signed are a quorum', async () => {
  await prove({...vectors.accepted['page, two validators'], quorum: 2})
  await assert.rejects(prove({...vectors.accepted['page, two validators'], quorum: 3}), refusal('quorum'))
})

test('a key that is not pinned proves nothing', async () => {
  const {key, answer} = vectors.accepted['page, next key']
  const {logs} = await trust()
  const question = {key, salt, trust: {logs: logs.slice(0, 1), cosigners: [], quorum: 0}, now: vectors.now}
  await assert.rejects(proveBlock(subtle, answer, question), refusal('unsigned'))
})

for (const {seen, next, edge, code} of vectors.following) {
  test(`a checkpoint after one that was seen: ${code || 'taken'}, from ${edge ? 'the edge' : 'a mirror'}`, async () => {
    const open = async note => {
      const {size, root} = await openCheckpoint(subtle, utf8(note), await trust(), vectors.now)
      return {size, root: hex(root), at: vectors.now}
    }
    const [before, after] = [await open(seen), await open(next)]
    const follow = () => mayFollow({...after, origin: vectors.origin}, after.root, before, edge)
    if (code) assert.throws(follow, refusal(code))
    else follow()
  })
}

test('every inclusion proof of the published vectors holds, and no longer, shorter or changed one does', async () => {
  const fromHex = text => Uint8Array.from(Buffer.from(text, 'hex'))
  for (const {index, size, proof} of tlog.inclusion) {
    const leaf = await leafHash(subtle, utf8(String(index)))
    const root = fromHex(tlog.roots[size])
    const path = proof.map(fromHex)
    await verifyInclusion(subtle, index, size, leaf, path, root)
    await assert.rejects(verifyInclusion(subtle, index, size, leaf, [...path, leaf], root), refusal('path'))
    if (!path.length) continue
    await assert.rejects(verifyInclusion(subtle, index, size, leaf, path.slice(1), root), refusal('path'))
    path[0][0] ^= 1
    await assert.rejects(verifyInclusion(subtle, index, size, leaf, path, root), refusal('path'))
  }
})

test('an index beyond 32 bits is not cut', async () => {
  const leaf = await leafHash(subtle, utf8('x'))
  await assert.rejects(verifyInclusion(subtle, 2 ** 32, 5, leaf, [], leaf), refusal('path'))
  await assert.rejects(verifyInclusion(subtle, 2 ** 40, 2 ** 40 + 1, leaf, [], leaf), refusal('path'))
  // The last of 2**40 + 1 leaves has one node beside it: the whole tree before.
  const left = await leafHash(subtle, utf8('all before'))
  const root = new Uint8Array(await subtle.digest('SHA-256', Uint8Array.of(1, ...left, ...leaf)))
  await verifyInclusion(subtle, 2 ** 40, 2 ** 40 + 1, leaf, [left], root)
})

test('keys: the ID is computed anew, and only types that sign are taken', async () => {
  for (const key of [...vectors.keys, ...vectors.validators]) assert.equal((await parseVerifier(subtle, key)).name, key.split('+')[0])
  const [name, id, key] = vectors.keys[0].split(/\+(.*?)\+(.*)/s)
  for (const bad of [`${name}+00000000+${key}`, `other+${id}+${key}`, `${name}+${id}`, `${name}+${id}+${key}=`, `a b+${id}+${key}`, '']) {
    await assert.rejects(parseVerifier(subtle, bad), Refused)
  }
})

test('notes of the published vectors: what is refused there is refused here', async () => {
  const good = tlog.note_cases.find(each => each.name === 'good')
  const log = await parseVerifier(subtle, tlog.log_key.vkey)
  assert.equal((await openNote(subtle, parseNote(utf8(good.note)), [log]))[0].verifier, log)
  assert.equal(parseProof(tlog.tlog_proof_index3_size8).index, 3)
})

test('signatures agree with another implementation', async () => {
  ed.hashes.sha512Async = async message => new Uint8Array(await subtle.digest('SHA-512', message))
  const {text, signatures} = parseNote(utf8(vectors.controls.good))
  const key = fromBase64(vectors.keys[0].split('+').at(-1)).subarray(1)
  assert(await ed.verifyAsync(signatures[0].blob, utf8(text), key, {zip215: false}))
  assert(!(await ed.verifyAsync(signatures[0].blob, utf8(`${text}x`), key, {zip215: false})))
})

for (const {url, ignore, key, digest} of vectors.urls) {
  test(`the key of ${url}${ignore.length ? ' without ignored parameters' : ''}`, async () => {
    assert.equal(urlKey(url, ignore), key)
    assert.equal(hex(await urlDigest(subtle, salt, key)), digest)
  })
}
