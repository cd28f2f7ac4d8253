"""The admin server: who may ask, what, and how errors look.

Owns: routes, the bearer token check, the guard against DNS rebinding. Must not know how the edge works; it asks its backend.
"""

import hmac
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from edgeproxy import __version__
from edgeproxy.admin import disaster
from edgeproxy.admin.backend import AdminBackend, Json, PurgeKind, PurgeOrder, ReleaseOrder, RollbackOrder
from edgeproxy.admin.openapi import document
from edgeproxy.admin.page import POLICY, status_page
from edgeproxy.errors import EdgeError, RequestRefused
from edgeproxy.serving.addresses import map_bind_error
from edgeproxy.wire.fields import Fields

log = logging.getLogger("edgeproxy.admin")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LARGEST_BODY = 256 << 10
_MOST_VALUES = 1_000
_STOP_SECONDS = 2.0
_ABSOLUTE = ("http://", "https://")
_OPEN = frozenset({"/", "/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"})
_FIELDS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "edgeproxy",
}


class AdminServer:
    """The admin side on one address. `hosts`: further names that a `Host` field may have, when others than this machine ask."""

    def __init__(
        self,
        backend: AdminBackend,
        token: str,
        address: tuple[str, int],
        *,
        node: str = "edgeproxy",
        hosts: frozenset[str] = frozenset(),
        metrics: bool = True,
    ) -> None:
        self._backend = backend
        self._token = token.encode()
        self._address = address
        self._node = node
        self._hosts = hosts
        self._shows_metrics = metrics
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"AdminServer({self._address}, {'running' if self._runner else 'stopped'})"

    async def start(self) -> tuple[str, int]:
        """Listen; returns host and port as bound. Raises `StartError` when the address cannot be had."""
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            await runner.cleanup()
            raise map_bind_error(f"{host}:{port}", error) from error
        self._runner = runner
        bound = runner.addresses[0]
        return (host, int(bound[1]))

    async def stop(self) -> None:
        """Stop listening and let what is being answered finish, for two seconds at most. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._errors, self._guard], client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(_add_fields)
        app.router.add_get("/", self._page)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        if self._shows_metrics:
            app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/openapi.json", self._openapi)
        app.router.add_get("/api/v1/status", self._status)
        app.router.add_get("/api/v1/explain", self._explain)
        app.router.add_post("/api/v1/purge", self._purge)
        app.router.add_post("/api/v1/rollback", self._rollback)
        app.router.add_post("/api/v1/release", self._release)
        app.router.add_post("/api/v1/reload", self._reload)
        app.router.add_get("/api/v1/certificates", self._certificates)
        app.router.add_post("/api/v1/certificates/renew", self._renew)
        app.router.add_get("/api/v1/service-worker", self._workers)
        app.router.add_post("/api/v1/service-worker", self._order_workers)
        app.router.add_get("/api/v1/ledger/head", self._ledger_head)
        app.router.add_post("/api/v1/ledger/rotate", self._ledger_rotate)
        app.router.add_get(r"/api/v1/ledger/blocks/{height:\d{1,15}}", self._ledger_show)
        app.router.add_get("/api/v1/ledger/history", self._ledger_history)
        disaster.add_routes(app, self._backend)
        return app

    # --- who may ask

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every error is JSON: {"error": text, ...}."""
        try:
            return await handler(request)
        except EdgeError as error:
            fields = {name: str(value) for name, value in error.fields.items()}
            return _json({"error": error.text, **fields}, error.status if 400 <= error.status < 600 else 500)
        except web.HTTPRequestEntityTooLarge:
            return _json({"error": f"request body is larger than {_LARGEST_BODY} bytes"}, 413)
        except web.HTTPException as error:
            answer = _json({"error": error.reason.lower()}, error.status)
            if (allow := error.headers.get("Allow")) is not None:
                answer.headers["Allow"] = allow
            return answer
        except Exception:
            # Recovered here: one wrong answer of the backend must not end the connection without a word.
            log.exception("admin request failed: %s %s", request.method, request.path)
            return _json({"error": "internal error; the edge's log says more"}, 500)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A page on another site can make a browser ask here under its own name (DNS rebinding): such a `Host` gets nothing."""
        if not self._is_our_host(request.headers.get("Host", "")):
            return _json(
                {"error": "host is not one of this admin side; use a loopback address, or list it in listen.admin_hosts"}, 421
            )
        if request.path not in _OPEN and not self._has_token(request):
            answer = _json({"error": "missing or wrong bearer token; it is in DATA/admin-token"}, 401)
            answer.headers["WWW-Authenticate"] = 'Bearer realm="edgeproxy"'
            return answer
        return await handler(request)

    def _is_our_host(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):
            head, colon, port = name.rpartition(":")
            if colon and port.isdecimal():
                name = head
        if name == "localhost" or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        # An address is no name, so it cannot be rebound; others than loopback are right only where the server listens on them.
        return address.is_loopback or self._is_public()

    def _is_public(self) -> bool:
        host = self._address[0]
        if host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return True

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Compared in constant time, so that the answer's delay does not tell how many characters were right.
        same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        return same and scheme.lower() == "bearer"

    # --- without a token

    async def _page(self, _: web.Request) -> web.Response:
        healthy, checks = self._backend.healthy()
        ready, _checks = self._backend.ready()
        text = status_page(self._node, __version__, healthy, ready, checks)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": POLICY})

    async def _healthz(self, _: web.Request) -> web.Response:
        healthy, checks = self._backend.healthy()
        return _json({"status": "ok" if healthy else "failing", "checks": checks}, 200 if healthy else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        ready, checks = self._backend.ready()
        return _json({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._backend.metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _openapi(self, _: web.Request) -> web.Response:
        return _json(document(__version__))

    # --- with it

    async def _status(self, _: web.Request) -> web.Response:
        return _json(await self._backend.status())

    async def _explain(self, request: web.Request) -> web.Response:
        url = _url_of(request)
        lines = []
        for line in request.query.getall("field", []):
            name, colon, value = line.partition(":")
            if not colon or not name.strip() or any(character in line for character in "\r\n\0"):
                raise RequestRefused('field must be "Name: value"', field=line)
            lines.append((name.strip(), value.strip()))
        return _json(await self._backend.explain(url, Fields(lines)))

    async def _purge(self, request: web.Request) -> web.Response:
        return _json(await self._backend.purge(purge_order(await _body(request))))

    async def _rollback(self, request: web.Request) -> web.Response:
        return _json(await self._backend.rollback(rollback_order(await _body(request))))

    async def _release(self, request: web.Request) -> web.Response:
        return _json(await self._backend.release(release_order(await _body(request))))

    async def _reload(self, request: web.Request) -> web.Response:
        await _body(request)
        faults, waiting = await self._backend.reload()
        return _json({"applied": not faults, "faults": faults, "restart": waiting}, 422 if faults else 200)

    async def _certificates(self, _: web.Request) -> web.Response:
        return _json({"certificates": await self._backend.certificates()})

    async def _renew(self, request: web.Request) -> web.Response:
        body = await _body(request)
        name = body.get("name")
        if set(body) != {"name"} or not isinstance(name, str) or not name:
            raise RequestRefused('body must be {"name": a host name}')
        await self._backend.renew(name)
        return _json({"name": name}, 202)

    async def _workers(self, _: web.Request) -> web.Response:
        return _json(self._backend.service_workers())

    async def _order_workers(self, request: web.Request) -> web.Response:
        body = await _body(request)
        mode, site = body.get("mode"), body.get("site")
        if (
            not {"mode"} <= set(body) <= {"mode", "site"}
            or not isinstance(mode, str)
            or not isinstance(site, str | None)
            or site == ""
        ):
            raise RequestRefused('body must be {"mode": what to do, "site": a host of the site, or null for all}')
        return _json(await self._backend.order_workers(site, mode))

    async def _ledger_head(self, _: web.Request) -> web.Response:
        return _json(await self._backend.ledger_head())

    async def _ledger_rotate(self, request: web.Request) -> web.Response:
        await _body(request)
        return _json(await self._backend.ledger_rotate())

    async def _ledger_show(self, request: web.Request) -> web.Response:
        block = await self._backend.ledger_show(int(request.match_info["height"]))
        return _json({"error": "no such block"}, 404) if block is None else _json(block)

    async def _ledger_history(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "100")
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:6]) <= 10_000 or len(limit) > 5:
            raise RequestRefused("limit must be a number from 1 to 10000", limit=limit)
        return _json(await self._backend.ledger_history(_url_of(request), int(limit)))


def purge_order(body: Json) -> PurgeOrder:
    """The order in a request body. Raises `RequestRefused` naming the key that is wrong."""
    if unknown := sorted(body.keys() - {"kind", "values", "site", "hard", "dry_run"}):
        raise RequestRefused("unknown key", key=unknown[0])
    kind, values, site = body.get("kind"), body.get("values"), body.get("site")
    if kind not in tuple(PurgeKind):
        raise RequestRefused("kind must be one of url, prefix, tag, site", kind=kind)
    if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
        raise RequestRefused("values must be a list of strings, one at least")
    if len(values) > _MOST_VALUES:
        raise RequestRefused("values are too many in one order", most=_MOST_VALUES)
    starts = {PurgeKind.URL: _ABSOLUTE, PurgeKind.PREFIX: (*_ABSOLUTE, "/")}.get(PurgeKind(kind), ("",))
    if not all(value.startswith(starts) for value in values):
        raise RequestRefused("urls must be absolute, and prefixes absolute or from /", kind=kind)
    if site is not None and (not isinstance(site, str) or kind not in (PurgeKind.TAG, PurgeKind.PREFIX)):
        raise RequestRefused("site goes with tags and path prefixes only, and is a host")
    flags = {key: body.get(key, False) for key in ("hard", "dry_run")}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise RequestRefused("must be true or false", key=key)
    return PurgeOrder(PurgeKind(kind), tuple(values), site, flags["hard"], flags["dry_run"])


def rollback_order(body: Json) -> RollbackOrder:
    """The order in a request body. Raises `RequestRefused` naming the key that is wrong."""
    if unknown := sorted(body.keys() - {"to", "site", "prefix", "absent", "dry_run"}):
        raise RequestRefused("unknown key", key=unknown[0])
    to, absent, dry_run = body.get("to"), body.get("absent", "fetch"), body.get("dry_run", False)
    if isinstance(to, bool) or not isinstance(to, int | str) or (isinstance(to, int) and to < 0) or len(str(to)) > 64:
        raise RequestRefused("to must be a height or a time")
    if absent not in ("fetch", "refuse"):
        raise RequestRefused("absent must be fetch or refuse", absent=absent)
    if not isinstance(dry_run, bool):
        raise RequestRefused("must be true or false", key="dry_run")
    return RollbackOrder(str(to), *_covered(body), absent, dry_run)


def release_order(body: Json) -> ReleaseOrder:
    """The order in a request body. Raises `RequestRefused` naming the key that is wrong."""
    if unknown := sorted(body.keys() - {"site", "prefix"}):
        raise RequestRefused("unknown key", key=unknown[0])
    return ReleaseOrder(*_covered(body))


def _covered(body: Json) -> tuple[str | None, str | None]:
    site, prefix = body.get("site"), body.get("prefix")
    if site is not None and (not isinstance(site, str) or not site):
        raise RequestRefused("site must be a host")
    if prefix is not None and (not isinstance(prefix, str) or not prefix.startswith((*_ABSOLUTE, "/"))):
        raise RequestRefused("prefix must be absolute or from /")
    return site, prefix


async def _body(request: web.Request) -> Json:
    """The JSON object of a request; an empty body is an empty object."""
    data = await request.read()
    if not data:
        return {}
    # A form of a foreign page cannot name this type without asking first (Fetch standard, CORS-safelisted request-header).
    if request.content_type != "application/json":
        raise RequestRefused("request body must be application/json", status=415)
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
    if not isinstance(found, dict):
        raise RequestRefused("request body must be a JSON object")
    return found


def _url_of(request: web.Request) -> str:
    url = request.query.get("url", "")
    if not url.startswith(_ABSOLUTE):
        raise RequestRefused("url must be absolute, with http:// or https://", url=url)
    return url


def _json(content: Json, status: int = 200) -> web.Response:
    return web.json_response(content, status=status)


async def _add_fields(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _FIELDS.items():
        response.headers[name] = value
