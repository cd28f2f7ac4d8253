/**
 * Owns: what the worker tells pages, and the types of it.
 */

/** @typedef {{type: 'edge:state', state: 'recovered', url: string, source: string, fetchedAt: number}} StateNotice fetchedAt in ms since the epoch */

/** Tell one page that a part of it is a verified copy. @param {ServiceWorkerGlobalScope} scope @param {string} clientId @param {string} url @param {import('./response.js').Found} found */
export async function tellState(scope, clientId, url, {source, entry}) {
  const client = clientId && (await scope.clients.get(clientId))
  if (client) client.postMessage(/** @type {StateNotice} */ ({type: 'edge:state', state: 'recovered', url, source, fetchedAt: entry.time}))
}
