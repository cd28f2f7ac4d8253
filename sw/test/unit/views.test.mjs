/** What a visitor gets: rebuilt answers, parts of media, pages with our tag, and the page for when nothing is known. */
import assert from 'node:assert/strict'
import {test} from 'node:test'
import {parseHead, unusable} from '../../src/models/head.js'
import {allowScripts, nonceOf} from '../../src/views/csp.js'
import {withTag} from '../../src/views/html.js'
import {offline} from '../../src/views/offline.js'
import {slice} from '../../src/views/range.js'
import {recovered} from '../../src/views/response.js'
import {utf8} from '../support.mjs'

const ORIGIN = 'https://www.example.org'
const TIME = 1_764_000_000_000
const head = fields => parseHead(utf8(`HTTP/1.1 200 OK\r\n${Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join('')}`)).headers

const answer = (fields, body, asked = {}, destination = 'document', csp = 'extend') =>
  recovered({entry: {time: TIME, height: 4}, headers: head(fields), body: utf8(body), source: 'cache'}, {destination, headers: new Headers(asked)}, TIME + 90_500, csp, ORIGIN)

test('a recovered answer says so, and how old it is; nothing of a connection or of another visitor comes back', async () => {
  const response = answer({'Content-Type': 'text/css', Age: '10', 'Set-Cookie': 'a=1', 'Transfer-Encoding': 'chunked', 'Repr-Digest': 'sha-256=:x:', ETag: '"1"', 'X-Own': 'kept'}, 'p{}', {}, 'style')
  assert.deepEqual(Object.fromEntries(response.headers), {
    'accept-ranges': 'bytes',
    age: '100',
    'content-type': 'text/css',
    etag: '"1"',
    'x-edge-age': '90',
    'x-edge-recovery': 'cache',
    'x-own': 'kept'
  })
  assert.equal(await response.text(), 'p{}')
})

test('a page gets the tag, at its end, with the nonce of its own policy', async () => {
  const page = '<!doctype html><html><head></head><body>x</body></html>'
  const response = answer({'Content-Type': 'text/html', 'Content-Security-Policy': "script-src 'nonce-r4nd0m='"}, page)
  const text = await response.text()
  assert(text.startsWith(page))
  assert.equal(
    text.slice(page.length),
    '<script src="/.edge/ui/register.js" defer data-edge-state="recovered" data-edge-source="cache" data-edge-fetched-at="2025-11-24T16:00:00.000Z" nonce="r4nd0m="></script>'
  )
  assert.equal(response.headers.get('content-security-policy'), "script-src 'nonce-r4nd0m='")
})

test('frames, and pages in UTF-16, stay as they are', async () => {
  assert.equal(await answer({'Content-Type': 'text/html'}, '<p>x', {}, 'iframe').text(), '<p>x')
  const utf16 = Uint8Array.of(0xff, 0xfe, 0x3c, 0)
  assert.equal(withTag(utf16, 'cache', TIME, null), utf16)
})

const PREFIX = `${ORIGIN}/.edge/ui/`
for (const [policy, amended] of [
  ["default-src 'self'", `default-src 'self'; script-src 'self' ${PREFIX}`],
  ["default-src 'none'; img-src *", `default-src 'none'; script-src  ${PREFIX}; img-src *`],
  ["script-src 'none'", `script-src  ${PREFIX}`],
  ['script-src https://cdn.example; object-src x', `script-src https://cdn.example ${PREFIX}; object-src x`],
  ["default-src 'none'; script-src-elem a.example; script-src-attr 'none'", `default-src 'none'; script-src-elem a.example ${PREFIX}; script-src-attr 'none'`],
  ["script-src 'nonce-abc' 'strict-dynamic'", "script-src 'nonce-abc' 'strict-dynamic'"],
  ["img-src 'self'", "img-src 'self'"],
  ["default-src 'self', script-src a.example", `default-src 'self'; script-src 'self' ${PREFIX}, script-src a.example ${PREFIX}`]
]) {
  test(`policy: ${policy}`, () => assert.equal(allowScripts(policy, PREFIX), amended))
}

test('a site that wants its policies respected keeps them', () => {
  const policy = "default-src 'none'"
  assert.equal(answer({'Content-Type': 'text/html', 'Content-Security-Policy': policy}, 'x', {}, 'document', 'respect').headers.get('content-security-policy'), policy)
  assert.equal(nonceOf(policy), null)
})

for (const [range, status, contentRange, text] of [
  ['bytes=0-', 206, 'bytes 0-9/10', '0123456789'],
  ['bytes=2-4', 206, 'bytes 2-4/10', '234'],
  ['bytes=7-99', 206, 'bytes 7-9/10', '789'],
  ['bytes=-3', 206, 'bytes 7-9/10', '789'],
  ['bytes=-99', 206, 'bytes 0-9/10', '0123456789'],
  ['bytes=10-', 416, 'bytes */10', ''],
  ['bytes=-0', 416, 'bytes */10', ''],
  ['bytes=4-2', 200, null, '0123456789'],
  ['bytes=0-1,3-4', 200, null, '0123456789'],
  ['bytes=-', 200, null, '0123456789'],
  ['lines=1-2', 200, null, '0123456789'],
  [null, 200, null, '0123456789']
]) {
  test(`range: ${range}`, async () => {
    const response = slice(range, utf8('0123456789'), new Headers())
    assert.deepEqual([response.status, response.headers.get('content-range'), await response.text()], [status, contentRange, text])
  })
}

test('a range of nothing', () => assert.equal(slice('bytes=0-', new Uint8Array(), new Headers()).status, 416))

test('a part of another version is not sent', async () => {
  const fields = {'Content-Type': 'audio/wav', ETag: '"new"'}
  assert.equal((await answer(fields, '0123', {range: 'bytes=1-', 'if-range': '"new"'}, 'audio')).status, 206)
  assert.equal((await answer(fields, '0123', {range: 'bytes=1-', 'if-range': '"old"'}, 'audio')).status, 200)
})

for (const [fields, seconds, why] of [
  [{'Cache-Control': 'max-age=60'}, 30, ''],
  [{'Cache-Control': 'max-age=60'}, 160, ''],
  [{'Cache-Control': 'max-age=60'}, 161, 'too-old'],
  [{'Cache-Control': 'max-age=60', Age: '50'}, 111, 'too-old'],
  [{'Cache-Control': 'max-age=60, s-maxage=600'}, 700, ''],
  [{Expires: 'Mon, 24 Nov 2025 16:10:00 GMT', Date: 'Mon, 24 Nov 2025 16:00:00 GMT'}, 700, ''],
  [{}, 101, 'too-old'],
  [{'Cache-Control': 'max-age=60, must-revalidate'}, 60, ''],
  [{'Cache-Control': 'max-age=60, must-revalidate'}, 61, 'must-revalidate'],
  [{'Cache-Control': 'no-cache'}, 1, 'must-revalidate'],
  [{'Cache-Control': 'no-cache="x-field"'}, 1, ''],
  [{'Cache-Control': 'private'}, 1, 'private'],
  [{'Cache-Control': 'NO-STORE'}, 1, 'private'],
  [{Vary: 'Accept, Cookie'}, 1, 'private'],
  [{Vary: '*'}, 1, 'private'],
  [{Vary: 'Accept-Encoding'}, 1, ''],
  [{}, -500, ''],
  [{}, -601, 'future']
]) {
  test(`may it be served: ${JSON.stringify(fields)} after ${seconds} s`, () => {
    assert.equal(unusable(head(fields), TIME, TIME + seconds * 1000, 100, false), why)
    if (why === 'must-revalidate') assert.equal(unusable(head(fields), TIME, TIME + seconds * 1000, 100, true), '')
  })
}

test('nothing known: a page for documents, a failed request for the rest', async () => {
  const response = offline({destination: 'document'})
  assert.equal(response.status, 503)
  const text = await response.text()
  assert.match(text, /<html lang="en">/)
  assert.match(text, /<main><h1>/)
  assert.doesNotMatch(text, /src=|url\(|@import|<link/)
  for (const destination of ['', 'image', 'script', 'style', 'audio']) assert.equal(offline({destination}).type, 'error')
})
