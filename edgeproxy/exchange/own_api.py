"""What the edge's own paths for browsers have in common: bodies read within bounds, JSON errors, who may ask from where.

Owns: those steps. Must not know a path.
"""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from edgeproxy.errors import RequestRefused
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.public import NOT_KEPT
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

NO_SNIFF = ("X-Content-Type-Options", "nosniff")
JSON_TYPE = ("Content-Type", "application/json")
FOR_ALL = ("Access-Control-Allow-Origin", "*")


def json_page(status: int, content: Any, *lines: tuple[str, str]) -> Page:
    """`content` as JSON that nobody keeps."""
    return Page(status, Fields((JSON_TYPE, NOT_KEPT, NO_SNIFF, *lines)), json.dumps(content).encode())


def refusal(error: RequestRefused, *lines: tuple[str, str]) -> Page:
    """A refusal in the form of the API: {"error": what was wrong, and the fields that say more}."""
    return json_page(error.status, {"error": error.text, **{name: str(value) for name, value in error.fields.items()}}, *lines)


def too_many(seconds: float, *lines: tuple[str, str]) -> Page:
    """429: ask again in so many seconds (RFC 6585 section 4)."""
    return json_page(429, {"error": "too many requests"}, ("Retry-After", str(int(seconds) + 1)), *lines)


def allowing(methods: Sequence[str], *lines: tuple[str, str]) -> Page:
    """405, or the answer to OPTIONS when that is among `methods` (Fetch standard, CORS-preflight request)."""
    return Page(405, Fields((("Allow", ", ".join(methods)), NOT_KEPT, *lines)), b"")


def preflight(methods: str, headers: str, *lines: tuple[str, str]) -> Page:
    """What a browser asks before a request that no form could make."""
    allowed = (("Access-Control-Allow-Methods", methods), ("Access-Control-Allow-Headers", headers))
    return Page(204, Fields((*lines, *allowed, ("Access-Control-Max-Age", "86400"), ("Allow", f"{methods}, OPTIONS"))), b"")


async def read_body(exchange: Exchange, most: int) -> bytes:
    """The whole request body. Raises RequestRefused: 413 beyond `most` bytes, 415 for one that is compressed; ClientGone."""
    stream = exchange.stream
    if "content-encoding" in exchange.request.fields:
        stream.keep_alive = False
        raise RequestRefused("request body must not be compressed", status=415)
    body = bytearray()
    while piece := await stream.read():
        body += piece
        if len(body) > most:
            stream.keep_alive = False
            raise RequestRefused("request body is too long", status=413, most=most)
    return bytes(body)


def content_type(request: Request) -> str:
    """The media type of the request's body without parameters, in lower case; "" when it names none."""
    return (request.fields.get("content-type") or "").partition(";")[0].strip().lower()


def asking_host(request: Request) -> str | None:
    """The host of the page that asks (`Origin`); None when the request names none. Raises RequestRefused (403) for "null".

    Browsers send the field with every post, and no page can change it (Fetch standard, "append a request Origin header").
    """
    origin = request.fields.get("origin")
    if origin is None:
        return None
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        host = None
    if not host:
        raise RequestRefused("the page that asks has no origin", status=403)
    return f"[{host}]" if ":" in host else host


def client_address(exchange: Exchange) -> str:
    """Whose request it is: the peer, or whom a proxy that is trusted names last in X-Forwarded-For."""
    if exchange.trusted:
        last = (exchange.request.fields.get("x-forwarded-for") or "").rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(last))
        except ValueError:
            pass
    return exchange.stream.peer.address
