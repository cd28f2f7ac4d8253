"""Pages with our tag and without, and how a browser asks for them."""

import gzip
from collections.abc import Callable

import brotli
import zstandard

from edgeproxy.inject.injector import tag
from tests.support.edge import Answer
from tests.support.scripted import Fronted, page

ON = '[site.service_worker]\nmode = "on"\n'
TAG = tag()
DOCUMENT = {"Sec-Fetch-Dest": "document", "Accept": "text/html", "Accept-Encoding": "identity"}
FETCHED = {"Sec-Fetch-Dest": "empty", "Accept": "*/*", "Accept-Encoding": "identity"}
KEEP = "max-age=600"
BEFORE = b"<!doctype html><html><head><title>a page</title>"
AFTER = b"</head><body>" + b"<p>All pages are kept as they came.</p>" * 300 + b"</body></html>"
PLAIN, WITH = BEFORE + AFTER, BEFORE + TAG + AFTER
KEPT = page(PLAIN, ETag='"a"', Content_Type="text/html; charset=utf-8", Cache_Control=KEEP, Accept_Ranges="bytes")
PRIVATE = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control="private", Digest="x", Content_MD5="y")


def unzstd(data: bytes) -> bytes:
    whole: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return whole


DECODE: dict[str, Callable[[bytes], bytes]] = {"br": brotli.decompress, "zstd": unzstd, "gzip": gzip.decompress}


async def asked(it: Fronted, target: str = "/page", method: str = "GET", **fields: str) -> Answer:
    """As a browser asks that is going to show the page."""
    return await it.client.ask(target, method, headers={**DOCUMENT, **{k.replace("_", "-"): v for k, v in fields.items()}})


def counted(it: Fronted) -> dict[str, int]:
    """Pages sent to be shown, by what became of them."""
    return dict(it.edge.metrics.site("*").injections)
