/**
 * Owns: IndexedDB as promises, and the names of our stores. Every record has an `id`, and all but those of `meta` a time `at`. Must not
 * know what else is in them.
 *
 * Every page script of the site can write here: nothing that comes out is trusted.
 */

const DATABASE = 'edge-sw'

/** @typedef {'blocks' | 'receipts' | 'spans' | 'meta'} Store */
/** @typedef {ReturnType<typeof openDatabase>} Database */

/** @param {IDBFactory} factory */
export function openDatabase(factory) {
  /** @type {Promise<IDBDatabase> | null} */
  let opening = null

  /** @returns {Promise<IDBDatabase>} */
  const open = () =>
    (opening ??= new Promise((resolve, reject) => {
      const request = factory.open(DATABASE, 1)
      request.onupgradeneeded = () => {
        for (const name of ['blocks', 'receipts', 'spans', 'meta']) request.result.createObjectStore(name, {keyPath: 'id'}).createIndex('at', 'at')
      }
      request.onsuccess = () => {
        request.result.onversionchange = close
        resolve(request.result)
      }
      request.onerror = () => {
        opening = null
        reject(request.error)
      }
    }))

  async function close() {
    const opened = opening
    opening = null
    ;(await opened)?.close()
  }

  /**
   * One transaction on one store; resolves when it is complete, to the result of the request that `work` gives back.
   * @param {Store} name @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest | void} work
   * @returns {Promise<any>}
   */
  async function run(name, mode, work) {
    const transaction = (await open()).transaction(name, mode)
    return new Promise((resolve, reject) => {
      const request = work(transaction.objectStore(name))
      transaction.oncomplete = () => resolve(request?.result)
      transaction.onabort = () => reject(transaction.error)
    })
  }

  return {
    /** @param {Store} name @param {string} id @returns {Promise<any>} undefined when there is none */
    get: (name, id) => run(name, 'readonly', store => store.get(id)),

    /** @param {Store} name @param {{id: string, at?: number, [field: string]: unknown}} record @returns {Promise<unknown>} */
    put: (name, record) => run(name, 'readwrite', store => store.put(record)),

    /** All of a store, the oldest first. @param {Store} name @returns {Promise<any[]>} */
    all: name => run(name, 'readonly', store => store.index('at').getAll()),

    /** @param {Store} name @param {{id: string}[]} records @returns {Promise<unknown>} */
    remove: (name, records) => run(name, 'readwrite', store => records.forEach(({id}) => void store.delete(id))),

    /** Close it and delete all of it. Nothing opens it again: whoever tries fails. */
    async destroy() {
      await close()
      factory.deleteDatabase(DATABASE)
      opening = /** @type {Promise<any>} */ (Promise.resolve())
    }
  }
}
