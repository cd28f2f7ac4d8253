/** What the worker makes, for the Python side to check: prints one JSON object. */
import {hex} from '../src/models/digest.js'
import {makeReceipt, packReceipts} from '../src/models/receipt.js'
import {encodeSpans, startTrace} from '../src/models/trace.js'
import {urlDigest, urlKey} from '../src/models/url.js'
import {bytes, subtle, vectors} from './support.mjs'

let now = vectors.now
const trace = startTrace(() => (now += 0.25), 'edge.sw.recover', '0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331')
trace.end(trace.start('edge.sw.cache', false), {'edge.found': 'true'})
trace.end(trace.start('edge.sw.edge', true), {}, 'TypeError: fetch failed')
trace.start('edge.sw.mirror', true)
trace.end(trace.root, {'url.path': '/news', 'edge.cause': 'network', 'edge.block': 4})

const causes = ['network', 'timeout', 'status-500', 'status-502', 'status-503', 'status-504', 'cache-bad', 'edge-bad', 'mirror-bad']
const said = {url: 'https://www.example.org/news#part', served: now, dest: 'document', trace: trace.root.traceId}
const receipts = causes.map((cause, at) => makeReceipt({...said, cause, source: ['cache', 'edge', 'mirror', 'none'][at % 4], block: at % 4 === 3 ? null : at}))
const longest = Array.from({length: 40}, () => makeReceipt({...said, url: `https://www.example.org/${'a'.repeat(776)}`, source: 'none', cause: 'network', block: null}))

const digest = async url => hex(await urlDigest(subtle, bytes(vectors.salt), urlKey(url)))
const urls = ['https://www.example.org/%c3%a9?', 'https://WWW.example.org:443', 'https://www.example.org/a?b#c']
console.log(
  JSON.stringify({
    otlp: encodeSpans(trace.spans, vectors.site, '1'),
    receipts: packReceipts(receipts, 'token').body,
    longest: packReceipts(longest, 'token'.repeat(50)).body,
    digests: Object.fromEntries(await Promise.all(urls.map(async url => [url, await digest(url)])))
  })
)
