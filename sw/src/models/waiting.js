/**
 * Owns: patience: a promise with a deadline.
 */

/** What `promise` gives, or `otherwise` when it has not given anything after `ms`. @template T, U @param {number} ms @param {Promise<T>} promise @param {U} otherwise @returns {Promise<T | U>} */
export async function within(ms, promise, otherwise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** @type {Promise<U>} */
  const deadline = new Promise(resolve => (timer = setTimeout(resolve, ms, otherwise)))
  try {
    return await Promise.race([promise, deadline])
  } finally {
    clearTimeout(timer)
  }
}
