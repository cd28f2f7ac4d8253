"""Answers of the edge's own: error pages, and nothing that came from a site.

Owns: their bytes. Small, self-contained, in plain words for the visitor; what the operator needs is in fields, span and log.
"""

import html
from dataclasses import dataclass

from edgeproxy.caching import status as status_fields
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import encode_response_head, reason_phrase

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{status} {phrase}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem }}
h1 {{ font-size: 1.35rem; margin: 0 0 .6rem }}
p {{ margin: 0 0 .6rem }}
small {{ opacity: .65 }}
</style></head>
<body><h1>{title}</h1><p>{text}</p><p><small>{status} {phrase} · edgeproxy</small></p></body></html>
"""

_WORDS = {
    400: ("This request could not be understood", "The browser or program sent something that is not valid HTTP."),
    404: ("Nothing here", "There is no page at this address."),
    405: ("This method is not allowed here", "The edge does not answer this kind of request."),
    421: ("This site is not served here", "The name in the request belongs to no site of this server."),
    500: ("Something went wrong on this server", "The fault is ours and has been noted. Please try again in a moment."),
    502: ("The site did not answer properly", "Its server sent something unusable, and no earlier copy may be shown."),
    503: ("The site cannot be reached", "Its server is not answering, and no earlier copy of this page is at hand."),
    504: ("The site takes too long to answer", "Its server is silent, and no earlier copy of this page may be shown."),
    508: ("The request goes round in circles", "It has passed this server before. Its origin seems to lead back here."),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A whole answer."""

    status: int
    fields: Fields
    body: bytes


def error_page(status: int, *, detail: str | None = None, proxy_error: str | None = None) -> Page:
    """The page for `status`. `detail`: one more sentence for the visitor, constant text. `proxy_error`: RFC 9209's type."""
    title, text = _WORDS.get(status, (reason_phrase(status) or "Error", "The request was not carried out."))
    phrase = reason_phrase(status) or "Error"
    body = _PAGE.format(status=status, phrase=html.escape(phrase), title=html.escape(title), text=html.escape(detail or text))
    lines = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
    if proxy_error:
        lines.append(("Proxy-Status", status_fields.proxy_status(proxy_error)))
    return Page(status, Fields(lines), body.encode())


def whole_answer(page: Page, *, date: str) -> bytes:
    """The page as one HTTP/1.1 message that ends its connection."""
    fields = page.fields.plus(("Date", date), ("Content-Length", str(len(page.body))), ("Connection", "close"))
    return encode_response_head(page.status, fields) + page.body
