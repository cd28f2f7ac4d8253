"""What a test asks a page in a real browser about our service worker, as expressions for `chromium.Browser.ask` and `until`."""

CONTROLLED = "navigator.serviceWorker.controller?.state === 'activated' && navigator.serviceWorker.controller.scriptURL"
"""The script of the worker that controls the page, once it is active."""

REGISTERED = """navigator.serviceWorker.getRegistrations().then(all =>
  all.map(each => [each.installing, each.waiting, each.active].map(worker => worker && new URL(worker.scriptURL).pathname)))"""
"""For each registration the paths of its workers: installing, waiting, active."""

TAGS = "document.querySelectorAll('script[src=\"/.edge/ui/register.js\"]').length"
STATE = "document.querySelector('script[src=\"/.edge/ui/register.js\"]')?.dataset.edgeState ?? ''"
BANNER = "Boolean(document.querySelector('edge-banner'))"

_KEPT = """new Promise((resolve, reject) => {
  const request = indexedDB.open('edge-sw')
  request.onerror = () => reject(request.error)
  request.onsuccess = () => {
    const db = request.result
    const names = [...db.objectStoreNames]
    if (!names.includes('blocks')) { db.close(); resolve([]); return }
    const all = db.transaction('blocks').objectStore('blocks').getAllKeys()
    all.onsuccess = () => { db.close(); resolve(all.result) }
  }
})"""


def keeps(url: str) -> str:
    """Whether the browser keeps a block of `url`. Only to be asked of a page that a worker controls: else the worker finds a
    database that it has not made."""
    return f"{_KEPT}.then(keys => keys.includes({url!r}))"
