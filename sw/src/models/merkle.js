/**
 * Owns: the Merkle tree of RFC 6962 section 2.1: leaf and node hashes, and whether a path leads from a leaf to a root.
 *
 * Indexes are doubles, exact up to 2**53; shifts would cut them to 32 bits, so halving is done by division.
 */
import {concat, same, sha256} from './digest.js'
import {must} from './refused.js'

/** @typedef {import('./digest.js').Bytes} Bytes */

/** @param {SubtleCrypto} subtle @param {Bytes} entry */
export const leafHash = (subtle, entry) => sha256(subtle, concat([0], entry))

/** @param {SubtleCrypto} subtle @param {Bytes} left @param {Bytes} right */
const nodeHash = (subtle, left, right) => sha256(subtle, concat([1], left, right))

/**
 * Entry `index` of the tree of `size` entries under `root` has the leaf hash `leaf` (RFC 9162 section 2.1.3.2); else `Refused`.
 * @param {SubtleCrypto} subtle
 * @param {number} index @param {number} size @param {Bytes} leaf @param {Bytes[]} path @param {Bytes} root
 */
export async function verifyInclusion(subtle, index, size, leaf, path, root) {
  must(index >= 0 && index < size, 'path')
  must([leaf, root, ...path].every(each => each.length === 32), 'path')
  const half = (/** @type {number} */ number) => Math.floor(number / 2)
  let first = index
  let last = size - 1
  let hash = leaf
  for (const each of path) {
    must(last > 0, 'path')
    if (first % 2 || first === last) {
      hash = await nodeHash(subtle, each, hash)
      while (first % 2 === 0 && first) {
        first = half(first)
        last = half(last)
      }
    } else {
      hash = await nodeHash(subtle, hash, each)
    }
    first = half(first)
    last = half(last)
  }
  must(last === 0 && same(hash, root), 'path')
}
