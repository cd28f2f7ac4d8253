"""What a test asks a page in a real browser about our service worker, as expressions for `chromium.Browser.ask` and `until`."""

CONTROLLED = "navigator.serviceWorker.controller?.state === 'activated' && navigator.serviceWorker.controller.scriptURL"
"""The script of the worker that controls the page, once it is active."""

REGISTERED = """navigator.serviceWorker.getRegistrations().then(all =>
  all.map(each => [each.installing, each.waiting, each.active].map(worker => worker && new URL(worker.scriptURL).pathname)))"""
"""For each registration the paths of its workers: installing, waiting, active."""

TAGS = "document.querySelectorAll('script[src=\"/.edge/ui/register.js\"]').length"
STATE = "document.querySelector('script[src=\"/.edge/ui/register.js\"]')?.dataset.edgeState ?? ''"
BANNER = "Boolean(document.querySelector('edge-banner'))"

# Who opens a database that is not there makes it, and the worker would find it without its stores: that is taken back.
KEPT_BLOCKS = """new Promise(resolve => {
  const request = indexedDB.open('edge-sw')
  request.onupgradeneeded = () => request.transaction.abort()
  request.onerror = () => resolve([])
  request.onsuccess = () => {
    const db = request.result
    const all = db.transaction('blocks').objectStore('blocks').getAllKeys()
    all.onsuccess = () => { db.close(); resolve(all.result) }
  }
})"""
"""The URLs of which the browser keeps a block."""


def keeps(url: str) -> str:
    """Whether the browser keeps a block of `url`, as an expression for a page of the same origin."""
    return f"{KEPT_BLOCKS}.then(keys => keys.includes({url!r}))"
