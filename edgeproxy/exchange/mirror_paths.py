"""The edge as a mirror of itself: /.edge/mirror/…, the paths of a static copy (docs/mirrors.md), answered from the store.

Owns: those names, and which URL a digest is of. Must not prove or send: each name stands for a path of the block API, of the
ledger, or for the control document, and is answered as that.

  control              the control document, for the site whose page asks (`Origin`), else for the host that is asked
  blocks/<hex>.json    the block of the URL with this digest        bodies/<hex>   a body        ledger/…   checkpoint and tiles
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from edgeproxy.caching.model import Digest
from edgeproxy.errors import RequestRefused
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.own_api import FOR_ALL, NO_SNIFF, asking_host, json_page
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.public import NOT_KEPT
from edgeproxy.exchange.site import Sites
from edgeproxy.ledger.digests import url_digest
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

PREFIX: Final = "/.edge/mirror/"
_block = re.compile(r"blocks/([0-9a-f]{64})\.json", re.ASCII).fullmatch
_body = re.compile(r"bodies/[0-9a-f]{64}", re.ASCII).fullmatch
_CONTROL_FIELDS = Fields((("Content-Type", "text/plain; charset=utf-8"), NOT_KEPT, FOR_ALL, ("Vary", "Origin"), NO_SNIFF))


class UrlDigests:
    """URLs by their digest. Made when it is first asked for, and kept up to date from then on by `note`.

    `urls`: all that the ledger knows, with their site; `salt`: of a site by its name. 200 bytes a URL.
    """

    def __init__(self, urls: Callable[[], Iterable[tuple[str, str]]], salt: Callable[[str], bytes]) -> None:
        self._urls = urls
        self._salt = salt
        self._known: dict[Digest, str] | None = None
        self._meanwhile: list[tuple[str, str]] = []
        self._making = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._known or ())

    def note(self, url: str, site: str) -> None:
        """A block was committed for `url` of `site`."""
        if self._known is not None:
            self._known[url_digest(self._salt(site), url)] = url
        elif self._making.locked():
            self._meanwhile.append((url, site))

    async def url(self, digest: Digest) -> str | None:
        """The URL with this digest; None for an unknown one."""
        async with self._making:
            if self._known is None:
                # The list is made here, where nothing changes it; digests take a second for a million URLs, in a thread.
                listed = list(self._urls())
                known = await asyncio.to_thread(self._made, listed)
                known.update(self._made(self._meanwhile))
                self._meanwhile.clear()
                self._known = known
        return self._known.get(digest)

    def _made(self, listed: Iterable[tuple[str, str]]) -> dict[Digest, str]:
        return {url_digest(self._salt(site), url): url for url, site in listed}


def _absent() -> Page:
    return json_page(404, {"error": "this mirror has no such file"}, FOR_ALL)


class MirrorPaths:
    """`control`: the signed document for a host of a site, by their names; None where there is none. `is_published`: whether
    anything else is there; where it is not, all names are answered alike, for one that is known would tell of a URL."""

    def __init__(
        self,
        digests: UrlDigests,
        control: Callable[[str, str], bytes | None],
        sites: Callable[[], Sites],
        is_published: Callable[[], bool],
    ) -> None:
        self._digests = digests
        self._control_of = control
        self._sites = sites
        self._is_published = is_published

    async def resolve(self, exchange: Exchange) -> Request | Page | None:
        """What a request below `PREFIX` amounts to: a request for another path, or the whole answer; None for any other path.

        What is not there is said with the fields that let a page of another origin read it: without them it would be a failure of
        the mirror to the one who asks.
        """
        request = exchange.request
        if not request.path.startswith(PREFIX):
            return None
        name = request.path.removeprefix(PREFIX)
        if name == "control" and request.method in ("GET", "HEAD"):
            return self._control(exchange) or _absent()
        if not (exchange.site.publish and self._is_published()):
            return _absent()
        if name.startswith("ledger/"):
            return replace(request, target=f"/.edge/{name}")
        if _body(name) is not None:
            return replace(request, target=f"/.edge/api/v1/{name}")
        found = _block(name)
        url = await self._digests.url(Digest(bytes.fromhex(found[1]))) if found is not None else None
        return _absent() if url is None else replace(request, target=f"/.edge/api/v1/blocks?url={quote(url, safe='')}")

    def _control(self, exchange: Exchange) -> Page | None:
        site, host = exchange.site, exchange.request.host
        try:
            asking = asking_host(exchange.request)
        except RequestRefused:
            asking = None
        if asking is not None:
            of_page = self._sites().find(asking)
            if of_page is not None:
                site, host = of_page, asking
        note = self._control_of(site.name, host)
        return None if note is None else Page(200, _CONTROL_FIELDS, note)
