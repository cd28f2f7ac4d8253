/**
 * Owns: what a stored page's Content-Security-Policy must say for our two scripts to run in it, and nothing beyond.
 *
 * Policies in a store are the origin's own, from before the edge amended them.
 */

/** The nonce that a policy lists, or null: header and body of a stored page agree on it. @param {string | null} policy */
export const nonceOf = policy => /'nonce-([\w+/=-]+)'/.exec(policy ?? '')?.[1] ?? null

/** `policies` (values of one field, parted by commas) with the scripts below `prefix` allowed. @param {string} policies @param {string} prefix absolute URL */
export const allowScripts = (policies, prefix) => policies.split(',').map(each => allowInOne(each, prefix)).join(',')

/** @param {string} policy @param {string} prefix */
function allowInOne(policy, prefix) {
  if (nonceOf(policy)) return policy
  /** @param {string} list */
  const extended = list => `${list.replace(/'none'/i, '')} ${prefix}`
  const own = /\bscript-src(?:-elem)?\s[^;]*/gi
  if (policy.search(own) >= 0) return policy.replace(own, extended)
  return policy.replace(/\bdefault-src(\s[^;]*)/i, (all, list) => `${all}; script-src${extended(list)}`)
}
