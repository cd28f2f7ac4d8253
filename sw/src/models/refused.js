/**
 * Owns: the one error that says that bytes did not prove what they claim. `code` is short and constant: it goes into spans and tests.
 */
export class Refused extends Error {
  /** @param {string} code lower case and hyphens */
  constructor(code) {
    super(code)
    this.code = code
  }
}

/**
 * Refuse unless `holds`.
 * @param {unknown} holds
 * @param {string} [code]
 * @returns {asserts holds}
 */
export function must(holds, code = 'form') {
  if (!holds) throw new Refused(code)
}

/** What `work` gives; `Refused` when it throws. @template T @param {() => T} work @param {string} [code] @returns {T} */
export function attempt(work, code) {
  try {
    return work()
  } catch {
    throw new Refused(code ?? 'form')
  }
}
