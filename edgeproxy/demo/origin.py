"""The bundled origin: a small site that shows what a cache does, and that breaks on request.

Owns: the routes, and the life of the server. It is an ordinary origin and knows nothing of the edge but the address to print.
"""

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from html import escape
from typing import Final

from aiohttp import web

from edgeproxy.clock import Clock, SystemClock
from edgeproxy.demo import pages, streams
from edgeproxy.demo.breakage import SWITCH, Answer, Mode, Switch, break_answers
from edgeproxy.demo.pages import Page

SHOWN_URL: Final = web.AppKey("shown_url", list[str])
"""The base URL that pages print in commands; none: that of the request."""

_STATIC_CACHE: Final = "max-age=3600, stale-if-error=604800"
_STOP_SECONDS: Final = 0.5
_MANY_VISITS: Final = 100_000


def build_app(*, clock: Clock | None = None, slow_seconds: float = 10.0) -> web.Application:
    """The origin as an application; a new switch each time, in mode ok."""
    app = web.Application(middlewares=[_error_pages, break_answers], client_max_size=1 << 20)
    app[SWITCH] = Switch(slow_seconds)
    app[streams.CLOCK] = clock or SystemClock()
    app[SHOWN_URL] = []
    for page in pages.PAGES:
        app.router.add_get(page.path, _page(page))
    app.router.add_post("/break/set", _set_mode)
    app.router.add_get("/static/{name:.+}", _static)
    app.router.add_get("/api/time", streams.api_time)
    app.router.add_get("/api/quotes", streams.api_quotes)
    app.router.add_get("/events", streams.events, allow_head=False)
    app.router.add_get("/ws", streams.echo, allow_head=False)
    app.router.add_get("/large.bin", streams.large)
    return app


class DemoOrigin:
    """The origin as a server of its own, within this process."""

    def __init__(self, app: web.Application | None = None) -> None:
        self._app = app or build_app()
        self._runner: web.AppRunner | None = None

    @property
    def switch(self) -> Switch:
        """What `/break` sets."""
        return self._app[SWITCH]

    def show_as(self, base_url: str) -> None:
        """Print `base_url` (without a slash at its end) in the commands on pages: the address of the edge in front."""
        self._app[SHOWN_URL][:] = [base_url]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL. Raises OSError when the port is taken."""
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_STOP_SECONDS, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        bound: int = runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def stop(self) -> None:
        """Close the listener and all connections."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()


def _page(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        now = request.app[streams.CLOCK].now()
        visits = _visits(request) + 1 if page.path == "/visit" else 0
        slots = {
            "base": escape(_base(request)),
            "modes": pages.mode_cards(request.app[SWITCH].mode),
            "entries": pages.log_entries(now),
            "greeting": pages.greeting(visits),
        }
        etag = pages.validator(page, now) if page.validator else None
        response = _conditional(request, pages.render(page, now, **slots).encode(), _headers(page), etag)
        if visits:
            response.set_cookie("visits", str(visits), httponly=True, samesite="Lax", path="/visit")
        return response

    return answer


def _headers(page: Page) -> dict[str, str]:
    headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": page.cache_control}
    if page.cdn:
        headers["CDN-Cache-Control"] = page.cdn
    if page.tags:
        headers["Surrogate-Key"] = page.tags
    return headers


def _conditional(request: web.Request, body: bytes, headers: dict[str, str], etag: str | None) -> web.Response:
    """200, or 304 when the client has it: weak comparison, as RFC 9110 section 13.1.2 asks."""
    if etag is None:
        return web.Response(body=body, headers=headers)
    headers = {**headers, "ETag": etag}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")}
    if "*" in known or etag.removeprefix("W/") in known:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)


async def _static(request: web.Request) -> web.Response:
    """A file of the site beside the pages; nothing outside of the folder, nothing that is a template."""
    path = (pages.SITE / request.match_info["name"]).resolve()
    if not path.is_relative_to(pages.SITE) or path.suffix not in (".css", ".js", ".svg", ".png") or not path.is_file():
        raise web.HTTPNotFound
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, "Cache-Control": _STATIC_CACHE}
    return _conditional(request, body, headers, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


async def _set_mode(request: web.Request) -> web.Response:
    """Set the switch, from a form or a shell; a browser goes back to the page."""
    given = (await request.post()).get("mode")
    if not isinstance(given, str) or given not in set(Mode):
        choices = ", ".join(Mode)
        return web.Response(status=400, text=f"mode is one of: {choices}\n", headers={"Cache-Control": "no-store"})
    request.app[SWITCH].set(Mode(given))
    return web.Response(status=303, text=f"{given}\n", headers={"Location": "/break", "Cache-Control": "no-store"})


@web.middleware
async def _error_pages(request: web.Request, handler: Answer) -> web.StreamResponse:
    """The site's own pages for what aiohttp raises as 404 and 500."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        page = {404: pages.MISSING, 500: pages.FAILED}.get(error.status)
        if page is None:
            raise
        body = pages.render(page, request.app[streams.CLOCK].now()).encode()
        return web.Response(status=error.status, body=body, headers=_headers(page))


def _visits(request: web.Request) -> int:
    given = request.cookies.get("visits", "")
    return min(int(given), _MANY_VISITS) if given.isascii() and given.isdigit() and len(given) < 7 else 0


def _base(request: web.Request) -> str:
    shown = request.app[SHOWN_URL]
    return shown[0] if shown else str(request.url.origin())
