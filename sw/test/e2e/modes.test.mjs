/** Modes and neighbours in a real Chromium: observe, kill.js, a site's own worker, and pages with strict policies. */
import assert from 'node:assert/strict'
import {fileURLToPath} from 'node:url'
import {test} from 'node:test'
import {bannerText, controlled, eventually, keptBlocks, missing, startBrowser, startServer} from './browser.mjs'

const SITE = 'http://site.localhost'
const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url))
const skip = missing()

/** A server with these settings and a browser on it. @param {object} settings @param {(parts: any) => Promise<void>} play */
async function scene(settings, play) {
  const edge = await startServer([process.execPath, SERVER, 'edge'], {SETTINGS: JSON.stringify(settings)})
  const browser = await startBrowser({'site.localhost': edge.port})
  const at = `http://127.0.0.1:${edge.port}`
  try {
    await play({
      page: browser.page,
      edge,
      set: async changed => void (await fetch(`${at}/.test/settings`, {method: 'POST', body: JSON.stringify(changed)})),
      told: async () => (await fetch(`${at}/.test/log`)).json()
    })
  } finally {
    await browser.close()
    await edge.kill()
  }
}

const kept = page => eventually('the page is kept', async () => (await keptBlocks(page)).includes(`${SITE}/`))
const registrations = page => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).map(each => each.active?.scriptURL))

test('observe: failures are seen and told, and change nothing', {skip}, () =>
  scene({control: 'observe'}, async ({page, set, told}) => {
    await page.goto(`${SITE}/`)
    await controlled(page)
    await eventually('the orders are there', async () => (await told()).log.includes('GET /.edge/api/v1/control'))
    await set({mode: '503'})
    const response = await page.goto(`${SITE}/`)
    assert.equal(response.status(), 503)
    assert.equal(await page.title(), 'Broken')
    await set({mode: 'ok'})
    await page.goto(`${SITE}/`)
    assert.equal(await bannerText(page), null)
    await page.evaluate(() => navigator.serviceWorker.controller.postMessage({type: 'edge:flush'}))
    const {receipts} = await eventually('a receipt', async () => ((await told()).receipts.length ? told() : null))
    assert.deepEqual([receipts[0].source, receipts[0].cause], ['none', 'status-503'])
    assert.deepEqual(await keptBlocks(page), [])
  }))

test('kill.js in place of the worker: it goes, with all that it kept, and the page stays', {skip}, () =>
  scene({}, async ({page, set}) => {
    await page.goto(`${SITE}/`)
    await controlled(page)
    await kept(page)
    await set({worker: 'kill.js'})
    await page.evaluate(async () => void (await (await navigator.serviceWorker.getRegistration('/')).update()))
    await eventually('nothing is registered', async () => (await registrations(page)).length === 0)
    assert.deepEqual(await page.evaluate(() => caches.keys()), [])
    assert.equal(await page.title(), 'The lighthouse')
  }))

test('a visitor who wants no worker has none', {skip}, () =>
  scene({}, async ({page}) => {
    await page.goto(`${SITE}/`)
    await controlled(page)
    await page.goto(`${SITE}/?edge-sw=off`)
    await eventually('nothing is registered', async () => (await registrations(page)).length === 0)
  }))

test('a site with a root worker of its own keeps it', {skip}, () =>
  scene({tag: false, own: true}, async ({page, set, told}) => {
    await page.goto(`${SITE}/`)
    await page.evaluate(async () => {
      await navigator.serviceWorker.register('/own-worker.js')
      await navigator.serviceWorker.ready
    })
    await set({tag: true})
    await page.goto(`${SITE}/`)
    await eventually('the page said so', async () => (await told()).registered.includes('foreign_sw'))
    assert.deepEqual(await registrations(page), [`${SITE}/own-worker.js`])
  }))

for (const [name, policy] of [
  ['Trusted Types', "require-trusted-types-for 'script'; trusted-types edge-sw"],
  ['no connections', "connect-src 'none'"]
]) {
  test(`a page with a policy (${name}): registered, recovered, and its banner runs`, {skip}, () =>
    scene({headers: {'content-security-policy': policy}}, async ({page, edge}) => {
      await page.goto(`${SITE}/`)
      await controlled(page)
      await kept(page)
      await edge.kill()
      await page.goto(`${SITE}/`)
      assert.match(await eventually('the banner', () => bannerText(page)), /verified copy/)
    }))
}

test('pages whose stored policy knows nothing of us: recovered with it, their own scripts run, and so does the banner', {skip}, () =>
  scene({}, async ({page, edge}) => {
    for (const path of ['/strict', '/nonce']) {
      await page.goto(SITE + path)
      await controlled(page)
      await eventually('the page is kept', async () => (await keptBlocks(page)).includes(SITE + path))
    }
    await edge.kill()
    for (const [path, policy] of [
      ['/strict', "default-src 'self'; script-src http://site.localhost/page.js http://site.localhost/.edge/ui/; object-src 'none'"],
      ['/nonce', "script-src 'nonce-r4nd0m'; require-trusted-types-for 'script'"]
    ]) {
      const response = await page.goto(SITE + path)
      assert.equal(response.headers()['content-security-policy'], policy)
      assert.equal(await page.textContent('#said'), 'The script has run.')
      assert.match(await eventually('the banner', () => bannerText(page)), /verified copy/)
    }
  }))
