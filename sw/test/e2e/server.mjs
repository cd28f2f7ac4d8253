/**
 * A small edge for the browser: the site of the vectors, its proofs, and our scripts. A process of its own, so that it can be killed.
 *
 *   node server.mjs edge|mirror [MODE]        prints the port; PORT=... takes that one
 *
 * `POST /.test/mode` with a text sets how pages are answered: ok, 503, hang, or "PATH 502" for one of them. `GET /.test/log` tells what came in.
 */
import {readFileSync} from 'node:fs'
import {createServer} from 'node:http'

const read = name => readFileSync(new URL(name, import.meta.url))
const site = JSON.parse(read('../vectors/site.json'))
const script = name => read(`../../../edgeproxy/service_worker_files/${name}`)
const [role = 'edge'] = process.argv.slice(2)
const settings = {mode: 'ok', control: 'on', worker: 'edge-sw.js', tag: true, limits: {navigation: 1500, resource: 1500}, mirrors: [], ...JSON.parse(process.env.SETTINGS ?? '{}')}
const log = []
const receipts = []
const spans = []
const registered = []

const text = (status, type, body, headers = {}) => ({status, headers: {'content-type': type, ...headers}, body})
const absent = () => text(404, 'application/json', '{"error":"not there"}')
const worker = () => {
  const edge = {...site.edge, limits: settings.limits, mirrors: settings.mirrors, ...settings.edge}
  return text(200, 'text/javascript', settings.worker === 'kill.js' ? script('kill.js') : `self.EDGE=${JSON.stringify(edge)};\n${script(settings.worker)}`, {
    'service-worker-allowed': '/',
    'cache-control': 'no-cache',
    'content-security-policy': "script-src 'none'",
    'x-content-type-options': 'nosniff'
  })
}

/** @param {URL} url @param {string} method @param {string} body */
function own(url, method, body) {
  const path = url.pathname
  if (path === '/.edge/sw.js') return worker()
  if (path === '/.edge/ui/register.js') return text(200, 'text/javascript', `self.EDGE_PAGE=${JSON.stringify({mode: settings.page ?? 'on', percent: 100})};\n${script('register.js')}`)
  if (path === '/.edge/ui/banner.js') return text(200, 'text/javascript', script('banner.js'))
  if (path === '/.edge/api/v1/control') return text(200, 'text/plain', site.controls[settings.control], {'cache-control': 'no-store', 'edge-receipt-token': 'test-token'})
  if (path === '/.edge/api/v1/blocks') {
    const part = site.parts[(url.searchParams.get('url') ?? '').replace(site.url, '')]
    return part ? text(200, 'application/json', JSON.stringify(part.answer), {'cache-control': 'no-store'}) : absent()
  }
  if (path === '/.edge/api/v1/receipts' && method === 'POST') {
    const said = JSON.parse(body)
    if (said.register) {
      registered.push(said.register)
      return text(204, 'text/plain', '')
    }
    receipts.push(...said.receipts)
    return text(202, 'application/json', JSON.stringify({accepted: said.receipts.length, duplicate: 0, refused: 0}))
  }
  if (path === '/.edge/otlp/v1/traces' && method === 'POST') {
    spans.push(...JSON.parse(body).resourceSpans[0].scopeSpans[0].spans)
    return text(200, 'application/json', '{}')
  }
  return bodies(path, '/.edge/api/v1')
}

/** @param {string} path @param {string} base */
function bodies(path, base) {
  const part = Object.values(site.parts).find(each => path === `${base}/bodies/${each.answer.body}`)
  return part ? text(200, 'application/octet-stream', settings.lie ?? Buffer.from(part.body, 'base64')) : absent()
}

/** A static copy. @param {string} path */
function mirror(path) {
  const part = Object.values(site.parts).find(each => path === `/blocks/${each.digest}.json`)
  const answer = part ? text(200, 'application/json', JSON.stringify(part.answer)) : bodies(path, '')
  return {...answer, headers: {...answer.headers, 'access-control-allow-origin': '*'}}
}

/** @param {string} path @param {import('node:http').IncomingHttpHeaders} asked */
function page(path, asked) {
  if (path === '/own-worker.js' && settings.own) return text(200, 'text/javascript', '')
  const part = site.parts[path]
  if (!part) return text(404, 'text/html', '<!doctype html><title>Not found</title>')
  const bytes = Buffer.from(part.body, 'base64')
  const isPage = part.type.startsWith('text/html')
  const nonce = /'nonce-(\w+)'/.test(part.policy ?? settings.headers?.['content-security-policy'] ?? '') ? ` nonce="${RegExp.$1}"` : ''
  const tag = `<script src="/.edge/ui/register.js" defer${nonce}></script></head>`
  const body = isPage && settings.tag ? bytes.toString().replace('</head>', tag) : bytes
  const headers = {'cache-control': 'max-age=0', 'edge-block': String(part.answer.height), ...(isPage ? settings.headers : {'accept-ranges': 'bytes'}), ...(part.policy && {'content-security-policy': part.policy})}
  const range = /^bytes=(\d+)-(\d*)$/.exec(asked.range ?? '')
  if (!range || isPage) return text(200, part.type, body, headers)
  const [first, last] = [Number(range[1]), range[2] ? Number(range[2]) : bytes.length - 1]
  return text(206, part.type, bytes.subarray(first, last + 1), {...headers, 'content-range': `bytes ${first}-${last}/${bytes.length}`})
}

/** @param {URL} url @param {string} method @param {string} body @param {import('node:http').IncomingHttpHeaders} asked */
function answer(url, method, body, asked) {
  if (url.pathname === '/.test/settings') {
    Object.assign(settings, JSON.parse(body || '{}'))
    return text(200, 'application/json', JSON.stringify(settings))
  }
  if (url.pathname === '/.test/log') return text(200, 'application/json', JSON.stringify({log, receipts, spans, registered}))
  log.push(`${method} ${url.pathname}${url.search}`)
  if (role === 'mirror') return mirror(url.pathname)
  if (url.pathname.startsWith('/.edge/')) return settings.api === 'dead' ? text(503, 'text/plain', 'dead') : own(url, method, body)
  if (settings.mode === 'hang' || settings.hang === url.pathname) return null
  if (settings.mode !== 'ok') return text(Number(settings.mode), 'text/html', '<!doctype html><title>Broken</title>')
  if (settings.broken === url.pathname) return text(502, 'text/plain', 'broken')
  return page(url.pathname, asked)
}

const server = createServer((request, response) => {
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    const made = answer(new URL(request.url ?? '/', site.url), request.method ?? 'GET', Buffer.concat(parts).toString(), request.headers)
    if (!made) return
    const body = Buffer.from(made.body)
    response.writeHead(made.status, {...made.headers, ...(made.status !== 204 && {'content-length': body.length})})
    response.end(made.status === 204 ? undefined : body)
  })
})
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.address().port))
