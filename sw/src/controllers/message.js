/**
 * Owns: what pages may ask of the worker. A page is any script of the site: nothing here may make it trust anything.
 */

/**
 * @param {import('./seed.js').Seed} seed @param {import('./reports.js').Reports} reports @param {() => Promise<void>} refresh of the control document
 * @returns {(event: ExtendableMessageEvent) => void}
 */
export const openMessages = (seed, reports, refresh) => event => {
  const {type, urls} = event.data ?? {}
  if (type === 'edge:seed') event.waitUntil(refresh().then(() => seed.take(urls)))
  if (type === 'edge:flush') event.waitUntil(reports.flush(true))
}
