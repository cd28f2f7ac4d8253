"""An origin worth a visit, as a process of its own that can be killed with SIGKILL and come back on its port.

It has the demo's pages, and some with all that a page is made of. Browsers ask the edge for them each time (`max-age=0`), so
that nothing comes out of their HTTP cache; the edge keeps them for an hour.
"""

import asyncio
import io
import math
import struct
import sys
import wave
from urllib.request import urlopen

from aiohttp import web

from edgeproxy.demo import DemoOrigin, build_app
from tests.support.processes import SiteProcess

KEPT = {"Cache-Control": "max-age=0", "CDN-Cache-Control": "max-age=3600"}
BRITTLE = {"Cache-Control": "max-age=0", "CDN-Cache-Control": "max-age=0, stale-if-error=0"}
"""Kept, and asked for each time: an edge without its origin has to answer 502."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="{style}"><script src="/v/page.js" defer></script></head>
<body><h1>{title}</h1><p id="said">Nothing has run.</p><p><a id="next" href="/v/second">The second page</a></p>
<img src="/v/picture.svg" alt="" width="60" height="60"><audio id="tone" src="/v/tone.wav" preload="auto"></audio></body></html>
"""
STYLE = "h1 { color: rgb(19, 111, 99) }"
SCRIPT = "document.getElementById('said').textContent = 'The script has run.'"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 6 6"><circle cx="3" cy="3" r="3" fill="#136f63"/></svg>'


def page(title: str, style: str = "/v/style.css") -> str:
    return PAGE.format(title=title, style=style)


def tone(seconds: int = 6) -> bytes:
    """A sound that is long enough to be sought in."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8_000)
        sound.writeframes(b"".join(struct.pack("B", 128 + int(60 * math.sin(each / 6))) for each in range(8_000 * seconds)))
    return out.getvalue()


FILES: dict[str, tuple[str, str | bytes, dict[str, str]]] = {
    "/v/": ("text/html", page("The lighthouse"), KEPT),
    "/v/second": ("text/html", page("The second page"), KEPT),
    "/v/third": ("text/html", page("The third page"), KEPT),
    "/v/patched": ("text/html", page("The patched page", "/v/brittle.css"), KEPT),
    "/v/brittle": ("text/html", page("The brittle page"), BRITTLE),
    "/v/brittle.css": ("text/css", STYLE, BRITTLE),
    "/v/style.css": ("text/css", STYLE, KEPT),
    "/v/page.js": ("text/javascript", SCRIPT, KEPT),
    "/v/picture.svg": ("image/svg+xml", PICTURE, KEPT),
    "/v/tone.wav": ("audio/wav", tone(), KEPT),
    "/v/wipe": ("text/html", page("Wiped"), {"Cache-Control": "no-store", "Clear-Site-Data": '"storage"'}),
}


class VisitedSite(SiteProcess):
    """With the switch of the demo."""

    module = "tests.support.visited_site"

    def set(self, mode: str) -> None:
        """Turn the switch of the demo: `ok`, `down`, `500`, …"""
        with urlopen(f"{self.url}/break/set", f"mode={mode}".encode()) as answer:
            assert answer.status == 200


async def _file(request: web.Request) -> web.Response:
    if request.path not in FILES:
        raise web.HTTPNotFound
    kind, body, headers = FILES[request.path]
    data = body.encode() if isinstance(body, str) else body
    return web.Response(body=data, headers={"Content-Type": kind, **headers})


async def serve(port: int) -> None:
    """The site on `port` (0: any free one), which is told on stdout; until the process is killed."""
    app = build_app()
    app.router.add_get("/v/{name:.*}", _file)
    url = await DemoOrigin(app).start(port=port)
    print(url.rpartition(":")[2], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
