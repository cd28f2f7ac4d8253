/**
 * Owns: the register tag of a recovered page. The store keeps pages as the origin made them.
 *
 * The tag goes to the very end: parsers take what follows `</html>` as the end of the body, so nothing has to be searched in the page,
 * and ASCII bytes are the same in every encoding that is in use but UTF-16, whose pages stay without a banner.
 */
import {concat, utf8} from '../models/digest.js'

/** @typedef {import('../models/digest.js').Bytes} Bytes */

/** @param {Bytes} page @param {string} source @param {number} fetchedAt ms @param {string | null} nonce @returns {Bytes} */
export function withTag(page, source, fetchedAt, nonce) {
  // A byte order mark of UTF-16.
  if (page[0] > 0xfd) return page
  const said = `data-edge-state="recovered" data-edge-source="${source}" data-edge-fetched-at="${new Date(fetchedAt).toISOString()}"`
  return concat(page, utf8(`<script src="/.edge/ui/register.js" defer ${said}${nonce ? ` nonce="${nonce}"` : ''}></script>`))
}
