/**
 * Helpers for tests in a real Chromium: servers as processes that can be killed, a browser on a fresh profile, and waiting for a state
 * instead of for a time. Nothing here knows the small site of the smoke test: tests against a real edge use the same.
 */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {accessSync, mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {chromium} from 'playwright-core'

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'

/** Why tests are left out here, or false. With CI=true a missing browser is a failure. */
export function missing() {
  try {
    accessSync(CHROMIUM)
    return false
  } catch {
    assert.notEqual(process.env.CI, 'true', `missing: ${CHROMIUM}`)
    return `missing: ${CHROMIUM}`
  }
}

/** A process that prints its port. @param {string[]} command @param {Record<string, string>} [environ] */
export async function startServer(command, environ = {}) {
  const child = spawn(command[0], command.slice(1), {env: {...process.env, ...environ}, stdio: ['ignore', 'pipe', 'inherit']})
  const port = await new Promise((resolve, reject) => {
    child.stdout.on('data', data => resolve(Number(String(data).trim().split('\n')[0])))
    child.on('exit', code => reject(new Error(`server ended with ${code}`)))
  })
  return {
    port,
    /** As a power cut does it: SIGKILL, to this process alone. */
    kill: () =>
      new Promise(resolve => {
        if (child.exitCode !== null || child.signalCode !== null) resolve(undefined)
        child.once('exit', resolve)
        child.kill('SIGKILL')
      })
  }
}

/**
 * Chromium on a fresh profile. `hosts` maps names to ports of this machine: names under .localhost are secure contexts, and URLs in proofs
 * stay the same whatever ports are free.
 * @param {Record<string, number>} hosts
 */
export async function startBrowser(hosts) {
  const profile = mkdtempSync(join(tmpdir(), 'edge-sw-'))
  const rules = Object.entries(hosts).map(([name, port]) => `MAP ${name}:80 127.0.0.1:${port}`)
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    viewport: {width: 900, height: 640},
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...(rules.length ? [`--host-resolver-rules=${rules.join(', ')}`] : [])
    ]
  })
  return {
    context,
    page: context.pages()[0] ?? (await context.newPage()),
    async close() {
      await context.close()
      rmSync(profile, {recursive: true, force: true})
    }
  }
}

/** What `look` gives once it is truthy; fails after `deadline` ms, telling what it was last. @template T @param {string} what @param {() => Promise<T>} look */
export async function eventually(what, look, deadline = 20_000) {
  const end = Date.now() + deadline
  let last
  for (;;) {
    try {
      last = await look()
      if (last) return last
    } catch (error) {
      last = error
    }
    assert(Date.now() < end, `${what}: not within ${deadline} ms; last: ${last}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** Wait until our worker controls the page. @param {import('playwright-core').Page} page */
export const controlled = page =>
  eventually('the worker controls the page', () =>
    page.evaluate(() => navigator.serviceWorker.controller?.scriptURL.endsWith('/.edge/sw.js') && navigator.serviceWorker.controller.state === 'activated')
  )

/** The keys of the blocks that the browser keeps for the page's origin. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
export const keptBlocks = page =>
  page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const request = indexedDB.open('edge-sw')
        request.onerror = () => reject(request.error)
        request.onsuccess = () => {
          const all = request.result.transaction('blocks').objectStore('blocks').getAllKeys()
          all.onsuccess = () => {
            request.result.close()
            resolve(all.result)
          }
        }
      })
  )

/** What the banner says, or null where there is none: its shadow root is closed, but the tree for assistive technology is open. @param {import('playwright-core').Page} page */
export async function bannerText(page) {
  const client = await page.context().newCDPSession(page)
  try {
    const {nodes} = await client.send('Accessibility.getFullAXTree')
    const status = nodes.find(node => node.role?.value === 'status')
    if (!status) return null
    const texts = []
    const walk = node => {
      if (node.role?.value === 'StaticText') texts.push(node.name?.value)
      for (const id of node.childIds ?? []) walk(nodes.find(each => each.nodeId === id))
    }
    walk(status)
    return texts.join('')
  } finally {
    await client.detach()
  }
}
