/**
 * Owns: the form of receipts, which tell the edge what visitors were served when it was not there. Must not send.
 */

/** @typedef {'cache' | 'edge' | 'mirror' | 'none'} Source */
/** @typedef {{id: string, url: string, source: Source, cause: string, block: number | null, served: number, dest: string, trace: string}} Receipt `served` in ms since the epoch */

/** At once; with the longest URL they stay below the 16 KiB that the edge takes. */
const MOST = 15
const LONGEST_URL = 800

/** @param {Omit<Receipt, 'id'>} said @returns {Receipt | null} null for a URL too long to be told */
export function makeReceipt(said) {
  const [url] = said.url.split('#')
  return url.length > LONGEST_URL ? null : {...said, id: crypto.randomUUID(), url, served: Math.round(said.served)}
}

/** The first of `waiting` that go in one request, and its body. @param {(Receipt & {at?: number})[]} waiting @param {string} token */
export function packReceipts(waiting, token) {
  const sent = waiting.slice(0, MOST)
  return {sent, body: JSON.stringify({token, receipts: sent.map(({at: _, ...receipt}) => receipt)})}
}
