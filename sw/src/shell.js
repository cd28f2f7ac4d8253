/**
 * Owns: which page scripts this worker was built with.
 */

/** SHA-256 of the page scripts, its first 128 bits in hex, put in by the build: the shell cache is no more trusted than any other. */
export const SHELL = /** @type {Record<string, string>} */ ({
  '/.edge/ui/register.js': BUILT_REGISTER,
  '/.edge/ui/banner.js': BUILT_BANNER
})
