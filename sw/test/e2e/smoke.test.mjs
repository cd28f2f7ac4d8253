/** The worker in a real Chromium, against a server that is killed: register, seed, survive, say so, and come back. */
import assert from 'node:assert/strict'
import {fileURLToPath} from 'node:url'
import {after, before, test} from 'node:test'
import {bannerText, controlled, eventually, keptBlocks, missing, startBrowser, startServer} from './browser.mjs'

const HOST = 'site.localhost'
const URL_ = `http://${HOST}`
const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url))
const skip = missing()
const command = role => [process.execPath, SERVER, role]
let edge, mirror, browser

/** @param {object} settings */
const set = async settings => void (await fetch(`http://127.0.0.1:${edge.port}/.test/settings`, {method: 'POST', body: JSON.stringify(settings)}))
const told = async () => (await fetch(`http://127.0.0.1:${edge.port}/.test/log`)).json()

before(async () => {
  if (skip) return
  mirror = await startServer(command('mirror'))
  edge = await startServer(command('edge'), {SETTINGS: JSON.stringify({mirrors: ['http://mirror.localhost']})})
  browser = await startBrowser({[HOST]: edge.port, 'mirror.localhost': mirror.port})
})

after(async () => {
  await browser?.close()
  await edge?.kill()
  await mirror?.kill()
})

test('first visit: the worker is registered, and what the page was made of is kept', {skip}, async () => {
  const {page} = browser
  await page.goto(`${URL_}/`)
  await controlled(page)
  const wanted = ['/', '/page.js', '/picture.svg', '/style.css', '/tone.wav'].map(path => URL_ + path)
  await eventually('the first page is kept', async () => {
    const kept = await keptBlocks(page)
    return wanted.every(each => kept.includes(each))
  })
  assert.equal(await bannerText(page), null)
})

test('a 502 on one part of a healthy page: that part is recovered, and the page says so', {skip}, async () => {
  const {page} = browser
  await set({broken: '/style.css'})
  await page.reload()
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(19, 111, 99)')
  await eventually('the banner speaks of parts', async () => /Parts of this page are verified copies/.test(await bannerText(page)))
  await set({broken: ''})
})

test('a page that was seen is kept as it passes by; a hanging edge is given up', {skip}, async () => {
  const {page} = browser
  await page.goto(`${URL_}/second`)
  await eventually('the second page is kept', async () => (await keptBlocks(page)).includes(`${URL_}/second`))
  await set({hang: '/second'})
  await page.goto(`${URL_}/second`)
  assert.equal(await page.title(), 'The second page')
  assert.match(await eventually('the banner', () => bannerText(page)), /verified copy/)
  await set({hang: ''})
})

test('the edge is killed: page, style, script, picture and a sought sound come from the browser, with the banner', {skip}, async () => {
  const {page} = browser
  await edge.kill()
  const response = await page.goto(`${URL_}/`)
  assert.equal(response.headers()['x-edge-recovery'], 'cache')
  assert.equal(await page.title(), 'The lighthouse')
  assert.equal(await page.textContent('#said'), 'The script has run.')
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(19, 111, 99)')
  await eventually('the picture is there', () => page.evaluate(() => document.querySelector('img').naturalWidth > 0))
  const time = await page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const sound = document.getElementById('tone')
        setTimeout(() => reject(new Error(`the sound is at ${sound.readyState}, ${sound.error?.message}`)), 15_000)
        sound.onseeked = () => resolve(sound.currentTime)
        sound.onloadedmetadata = () => (sound.currentTime = 4)
        if (sound.readyState) sound.onloadedmetadata()
      })
  )
  assert.equal(time, 4)
  const said = await eventually('the banner', () => bannerText(page))
  assert.match(said, /The site cannot be reached\. This is a verified copy from Nov 24, 2025/)
  if (process.env.SCREENSHOT) await page.screenshot({path: process.env.SCREENSHOT})
})

test('to another page that was seen, by its link; and to one that nobody knows', {skip}, async () => {
  const {page} = browser
  await page.click('#next')
  await page.waitForURL('**/second')
  assert.equal(await page.title(), 'The second page')
  const response = await page.goto(`${URL_}/unknown`)
  assert.equal(response.status(), 503)
  assert.equal(await page.textContent('h1'), 'This page cannot be reached')
})

test('a script of the page tampers with the store: never served; a mirror on another port answers instead', {skip}, async () => {
  const {page} = browser
  await page.goto(`${URL_}/second`)
  await page.evaluate(async () => {
    const cache = await caches.open('edge-sw-blocks-1')
    await cache.put('/', new Response('<title>TAMPERED</title>', {headers: {'content-type': 'text/html'}}))
  })
  const response = await page.goto(`${URL_}/`)
  assert.equal(await page.title(), 'The lighthouse')
  assert.equal(response.headers()['x-edge-recovery'], 'mirror')
})

test('the edge is back: no banner, no reload loop, and it hears what happened', {skip}, async () => {
  const {page} = browser
  edge = await startServer(command('edge'), {PORT: String(edge.port), SETTINGS: JSON.stringify({mirrors: ['http://mirror.localhost']})})
  const response = await page.goto(`${URL_}/`)
  assert.equal(response.headers()['x-edge-recovery'], undefined)
  assert.equal(await bannerText(page), null)
  await page.evaluate(() => navigator.serviceWorker.controller.postMessage({type: 'edge:flush'}))
  const {receipts} = await eventually('receipts arrive, and a span of the trace of each', async () => {
    const all = await told()
    return all.receipts.length > 6 && all.receipts.every(({trace}) => all.spans.some(span => span.traceId === trace)) && all
  })
  const seen = new Set(receipts.map(({source, cause}) => `${source} ${cause}`))
  for (const each of ['cache status-502', 'cache timeout', 'cache network', 'none network', 'cache cache-bad', 'mirror network']) assert(seen.has(each), `${each} in ${[...seen]}`)
  const {log} = await told()
  assert(log.filter(line => line === 'GET /').length < 3)
})

test('killed by the signed control document: worker, caches and database are gone', {skip}, async () => {
  const {page} = browser
  await set({control: 'kill', page: 'kill'})
  await page.goto(`${URL_}/second`)
  await eventually('nothing is registered', () => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length === 0))
})
