/**
 * Owns: what this worker was built and served with. The edge puts one line, `self.EDGE={...};`, in front of the script.
 *
 * Pinned keys come from the script's bytes and from nowhere else: a page script can write in every store, but not here.
 */

/** @typedef {import('./models/policy.js').Mode} Mode */
/**
 * @typedef {object} Limits times in ms, sizes in bytes
 * @property {number} bytes kept in this browser
 * @property {number} body the largest that is kept: WebCrypto hashes only what is whole in memory
 * @property {number} navigation until a silent network is given up for a page, when there is a copy
 * @property {number} resource the same for what a page is made of
 * @property {number} local patience with the own store
 * @property {number} edge patience with the edge's block API
 * @property {number} hedge patience with a mirror before the next is asked as well
 * @property {number} request the longest that one request for a block or body may take
 * @property {number} seed URLs of one page that are kept on its first visit
 * @property {number} moment until what the edge stored just now has a block
 */
/**
 * @typedef {object} Config
 * @property {string[]} keys verifier keys: our log's first, then the one it rotates to, then those of other edges
 * @property {string} origin of our log
 * @property {string} site
 * @property {string} salt of the site, base64
 * @property {string} version
 * @property {Mode} mode
 * @property {number} percent
 * @property {number} max_stale seconds
 * @property {boolean} override serve stale against the origin's directives
 * @property {string[]} ignore globs of query parameters that no key has
 * @property {string[]} mirrors base URLs
 * @property {import('./models/policy.js').Validators | null} validators
 * @property {'extend' | 'respect'} csp
 * @property {Limits} limits
 */

/** @type {Limits} */
const LIMITS = {
  bytes: 50 << 20,
  body: 16 << 20,
  navigation: 8_000,
  resource: 10_000,
  local: 50,
  edge: 1_500,
  hedge: 300,
  request: 8_000,
  seed: 200,
  moment: 1_500
}

/** @param {Pick<Config, 'keys' | 'origin' | 'site' | 'salt' | 'version'> & Partial<Omit<Config, 'limits'>> & {limits?: Partial<Limits>}} served @returns {Config} */
export function configure(served) {
  return {
    mode: 'on',
    percent: 100,
    max_stale: 604_800,
    override: false,
    ignore: [],
    mirrors: [],
    validators: null,
    csp: 'extend',
    ...served,
    limits: {...LIMITS, ...served.limits}
  }
}
