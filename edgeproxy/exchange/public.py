"""What the public answers below /.edge/ have in common: who may read them, how they are tagged, what is said to other methods.

Owns: those fields. Must not know what is answered.

Any site's pages may read all of it: nothing here depends on who asks, and nothing secret is in it.
"""

import json
from typing import Any

from edgeproxy.exchange.pages import Page, error_page
from edgeproxy.ledger.digests import sha256
from edgeproxy.wire import etags
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

FOR_ALL = (("Access-Control-Allow-Origin", "*"), ("X-Content-Type-Options", "nosniff"))
NOT_KEPT = ("Cache-Control", "no-store")
_ALLOW = "GET, HEAD, OPTIONS"
_OF_CONTENT = frozenset(("content-type", "content-encoding"))


def other_method(request: Request) -> Page | None:
    """The answer to whatever is neither GET nor HEAD; None for these two."""
    if request.method in ("GET", "HEAD"):
        return None
    if request.method == "OPTIONS":
        # What a browser asks before a request with If-None-Match (Fetch standard, CORS-preflight request).
        allowed = (("Access-Control-Allow-Methods", "GET, HEAD"), ("Access-Control-Allow-Headers", "If-None-Match"))
        return Page(204, Fields((*FOR_ALL, *allowed, ("Access-Control-Max-Age", "86400"), ("Allow", _ALLOW))), b"")
    page = error_page(405)
    return Page(405, page.fields.plus(("Allow", _ALLOW)), page.body)


def tagged(request: Request, data: bytes, fields: Fields) -> Page:
    """`data` as a 200, or a 304 for a client that has it."""
    etag = f'"{sha256(data)[:16].hex()}"'
    known = request.fields.get("if-none-match")
    fields = fields.plus(("ETag", etag))
    if known is not None:
        listed = etags.parse_etag_list(known)
        if listed == "*" or any(etags.weak_match(etag, each) for each in listed):
            return Page(304, fields.without(_OF_CONTENT), b"")
    return Page(200, fields, data)


def json_error(status: int, text: str) -> Page:
    """{"error": text}."""
    fields = Fields((("Content-Type", "application/json"), NOT_KEPT, *FOR_ALL))
    return Page(status, fields, encode_json({"error": text}))


def encode_json(content: dict[str, Any]) -> bytes:
    """Without spaces."""
    return json.dumps(content, separators=(",", ":")).encode()
