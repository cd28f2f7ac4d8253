"""The service worker's scripts and orders on the public side: sw.js, the page's scripts, and the control document.

Owns: those paths, their fields, and that the script which removes the worker is at the same URL as the worker. Must not decide a
mode (`recovery.service_workers`).

A worker that is registered stays until its script says otherwise: 404 and 410 leave it in control. So `/.edge/sw.js` is never
missing where the edge answers: it is the worker, or the script that deletes what the worker kept and unregisters it.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final, Protocol

from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.own_api import FOR_ALL, NO_SNIFF, allowing, preflight
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.public import NOT_KEPT, tagged
from edgeproxy.ledger.digests import sha256
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

FOLDER: Final = "service_worker_files"
"""In the package: what is built from the sources of the service worker."""
WORKER, KILL, REGISTER, BANNER = "edge-sw.js", "kill.js", "register.js", "banner.js"
SCRIPTS: Final = (WORKER, KILL, REGISTER, BANNER)

WORKER_PATH: Final = "/.edge/sw.js"
PAGE_PATHS: Final = {"/.edge/ui/register.js": REGISTER, "/.edge/ui/banner.js": BANNER}
CONTROL_PATH: Final = "/.edge/api/v1/control"

TOKEN_FIELD: Final = "Edge-Receipt-Token"

_TYPE = ("Content-Type", "text/javascript; charset=utf-8")
# No connect-src: it would hold for what the worker fetches for pages, and break their redirects to other origins.
_WORKER_FIELDS = Fields(
    (
        _TYPE,
        ("Cache-Control", "no-cache"),
        ("Service-Worker-Allowed", "/"),
        ("Content-Security-Policy", "script-src 'none'"),
        NO_SNIFF,
    )
)
_PAGE_FIELDS = Fields(
    (_TYPE, ("Cache-Control", "public, max-age=3600"), ("Cross-Origin-Resource-Policy", "same-origin"), NO_SNIFF)
)
_CONTROL_FIELDS = Fields(
    (
        ("Content-Type", "text/plain; charset=utf-8"),
        NOT_KEPT,
        FOR_ALL,
        ("Access-Control-Expose-Headers", TOKEN_FIELD),
        NO_SNIFF,
    )
)


class Orders(Protocol):
    """What is to be said to the workers of a host."""

    def control(self, site: str, host: str) -> bytes | None: ...

    def worker_values(self, site: str, host: str, version: str) -> dict[str, Any] | None: ...

    def page_values(self, site: str, host: str) -> dict[str, Any]: ...


def load_scripts() -> dict[str, bytes]:
    """The built scripts in the package; what is not there is left out, and its path is 404."""
    folder = resources.files("edgeproxy") / FOLDER
    found = {}
    for name in SCRIPTS:
        with contextlib.suppress(OSError):
            found[name] = (folder / name).read_bytes()
    return found


class WorkerFiles:
    """`token` makes a receipt token for a host. `scripts`: file name to bytes, as `load_scripts` gives them."""

    def __init__(self, orders: Orders, token: Callable[[str], str], scripts: Mapping[str, bytes]) -> None:
        self._orders = orders
        self._token = token
        self._scripts = scripts
        self.missing = tuple(name for name in SCRIPTS if name not in scripts)
        # Names the shell cache of the worker, which holds all of them: it changes whenever one of them does.
        self._version = sha256(b"\0".join(scripts.get(name, b"") for name in SCRIPTS)).hex()[:16]

    def answer(self, exchange: Exchange) -> Page | None:
        """The whole answer; None when it is none of these paths, or the script is not in the package."""
        request, path = exchange.request, exchange.request.path
        if path not in (WORKER_PATH, CONTROL_PATH, *PAGE_PATHS):
            return None
        if path == CONTROL_PATH and request.method == "OPTIONS":
            return preflight("GET, HEAD", "traceparent", FOR_ALL)
        if request.method not in ("GET", "HEAD"):
            return allowing(("GET", "HEAD"))
        site, host = exchange.site.name, request.host
        if path == WORKER_PATH:
            return self._worker(request, site, host)
        if path == CONTROL_PATH:
            return self._control(site, host)
        return self._page_script(request, PAGE_PATHS[path], site, host)

    def _worker(self, request: Request, site: str, host: str) -> Page | None:
        values = self._orders.worker_values(site, host, self._version)
        script = self._scripts.get(KILL if values is None else WORKER)
        if script is None:
            return None
        return tagged(request, script if values is None else preamble("EDGE", values) + script, _WORKER_FIELDS)

    def _page_script(self, request: Request, name: str, site: str, host: str) -> Page | None:
        script = self._scripts.get(name)
        if script is None:
            return None
        if name == REGISTER:
            script = preamble("EDGE_PAGE", self._orders.page_values(site, host)) + script
        return tagged(request, script, _PAGE_FIELDS)

    def _control(self, site: str, host: str) -> Page | None:
        note = self._orders.control(site, host)
        if note is None:
            return None
        return Page(200, _CONTROL_FIELDS.plus((TOKEN_FIELD, self._token(host))), note)


def preamble(name: str, values: Mapping[str, Any]) -> bytes:
    """One line of JavaScript that sets a global of the script behind it."""
    text = json.dumps(values, separators=(",", ":")).replace("</", "<\\/")
    return f"self.{name}={text};\n".encode("ascii")
