/**
 * Builds the four scripts that the edge serves, as classic scripts, into the Python package. The same sources give the same bytes.
 *
 *   node build.mjs [FOLDER]     FOLDER: where to put them; without one, the package's own
 *
 * Fails when a script is larger than its budget.
 */
import {createHash} from 'node:crypto'
import {mkdir, writeFile} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import {gzipSync} from 'node:zlib'
import {build} from 'esbuild'
import {minify} from 'terser'

const here = dirname(fileURLToPath(import.meta.url))
const out = resolve(process.argv[2] ?? join(here, '../edgeproxy/service_worker_files'))

/** Bytes: minified, and with gzip -9. */
const BUDGETS = {
  'edge-sw.js': {bytes: 30 * 1024, gzip: 10 * 1024},
  'register.js': {bytes: 4 * 1024, gzip: 1.2 * 1024},
  'banner.js': {bytes: 8 * 1024, gzip: 3 * 1024},
  'kill.js': {bytes: 1024, gzip: 512}
}

/** Properties of the worker's own parts: nothing of a browser that it uses, no wire and no store has them, so they may have any name. */
const OWN =
  /^(signatures|verifier|blob|logs|cosigners|checkpoint|entry|found|lies|trust|dropToken|maxStale|order|sawCheckpoint|passedBy|take|peek|succeeded|failed|queued|receipt|ready|mirror|ask|flush|destroy|write|install|activate|handle|orders|start|end|seen|root|raw|path|note|extra)$/

/** @param {string} entry @param {Record<string, string>} [define] @param {RegExp} [mangleProps] @returns {Promise<Uint8Array>} */
async function bundle(entry, define = {}, mangleProps) {
  const {outputFiles} = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    format: 'iife',
    target: 'es2022',
    legalComments: 'none',
    charset: 'utf8',
    minifySyntax: true,
    mangleProps,
    define,
    write: false,
    logLevel: 'warning'
  })
  // esbuild minifies too, to four per cent more.
  const {code} = await minify(outputFiles[0].text, {
    ecma: 2020,
    toplevel: true,
    compress: {passes: 5, pure_getters: true, unsafe_arrows: true, inline: 1},
    format: {comments: false}
  })
  return new TextEncoder().encode(`${code}\n`)
}

/** @param {string} algorithm @param {Uint8Array} bytes @param {'hex' | 'base64'} form */
const digest = (algorithm, bytes, form) => createHash(algorithm).update(bytes).digest(form)
/** @param {Uint8Array} bytes */
const built = bytes => JSON.stringify(digest('sha256', bytes, 'hex').slice(0, 32))

const register = await bundle('page/register.js')
const banner = await bundle('page/banner.js')
const scripts = {
  'edge-sw.js': await bundle('src/main.js', {BUILT_REGISTER: built(register), BUILT_BANNER: built(banner)}, OWN),
  'register.js': register,
  'banner.js': banner,
  'kill.js': await bundle('src/kill.js')
}

/** @type {Record<string, object>} */
const manifest = {}
let isTooLarge = false
await mkdir(out, {recursive: true})
for (const [name, bytes] of Object.entries(scripts)) {
  const size = {bytes: bytes.length, gzip: gzipSync(bytes, {level: 9}).length}
  const budget = BUDGETS[/** @type {keyof typeof BUDGETS} */ (name)]
  const isOver = size.bytes > budget.bytes || size.gzip > budget.gzip
  isTooLarge ||= isOver
  console.log(`${name.padEnd(12)} ${size.bytes} bytes, ${size.gzip} with gzip, of ${budget.gzip}${isOver ? '   TOO LARGE' : ''}`)
  // Not the gzip size: another zlib may give another one.
  manifest[name] = {bytes: bytes.length, sha256: digest('sha256', bytes, 'hex'), sha384: digest('sha384', bytes, 'base64')}
  await writeFile(join(out, name), bytes)
}
await writeFile(join(out, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
process.exitCode = isTooLarge ? 1 : 0
