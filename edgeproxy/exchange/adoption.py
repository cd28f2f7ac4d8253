"""Finding stored responses again whose URLs nobody wrote down: on a node that was rebuilt from public sources.

Owns: the step from a digest to a version, when somebody asks for the URL. Must not fetch, nor judge whether it may be served.

A block says only the digest of its URL, with a salt that follows from the genesis block and the site. Who asks brings the URL, so
the digest can be compared; the request's own fields tell in the same way which variant it is. What was found is written down.
"""

import asyncio
import logging
import sqlite3

from edgeproxy.caching import vary
from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.errors import Corrupt, StoreError
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.digests import url_digest, variant_digest
from edgeproxy.ledger.drafts import StoredNames, encode_names
from edgeproxy.ledger.fold import Blind, Fold, Version
from edgeproxy.ledger.verify import check_head
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import decode_stored_head
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.cache")


class Adopter:
    """Turns blind versions of a fold into versions of the index."""

    def __init__(self, cache: Cache, fold: Fold) -> None:
        self._cache = cache
        self._fold = fold
        self._taking = asyncio.Lock()

    async def adopt(self, site: Site, url: str, key: str, request: Request) -> bool:
        """Take over what is stored of `url` (or of its key, as it may have been spelt) in the variant that `request` selects.

        Answers whether it is worth looking into the index again.
        """
        if not self._fold.blind:
            return False
        digests = {url_digest(self._cache.salt(site.name), each): each for each in (url, key)}
        known = [digest for digest in digests if digest in self._fold.blind]
        for digest in known:
            # One at a time: whoever comes second finds it done.
            async with self._taking:
                try:
                    await self._take(site, StoredNames(site.name, digests[digest], ()), digest, key, request)
                except StoreError as error:
                    log.error("versions of a restored URL cannot be read: %s", error)
        return bool(known)

    async def _take(self, site: Site, names: StoredNames, digest: Digest, key: str, request: Request) -> None:
        blinds = self._fold.blind.get(digest, [])
        heads = await self._heads(blinds)
        found: list[Version] = []
        for blind in blinds:
            selecting = _selecting(blind, heads.get(blind.entry.height), request)
            if selecting is not None:
                found.append(blind.named(StoredNames(names.site, names.url, selecting)))
        # It may have been erased while the heads were read. Nothing waits from here until the names are on their way.
        still = {blind.entry.height for blind in self._fold.blind.get(digest, ())}
        found = [version for version in found if version.height in still]
        self._fold.adopt(digest, found)
        index = self._cache.index
        for version in found:
            if self._fold.has_body(version) and self._cache.bodies.exists(version.body.digest):
                entry = index.entry(site.name, key, version.selecting)
                index.add(entry, version)
                entry.versions.sort(key=lambda each: each.height)
        rows = [(v.height, encode_names(StoredNames(v.site, v.url, v.selecting))) for v in found]
        try:
            await self._cache.db.add_names(rows)
        except StoreError as error:
            log.warning("names of a restored URL could not be written down, they are found again after a restart: %s", error)

    async def _heads(self, blinds: list[Blind]) -> dict[int, bytes]:
        heights = [blind.entry.height for blind in blinds]

        def read(connection: sqlite3.Connection) -> dict[int, bytes]:
            rows: dict[int, bytes] = {}
            for height in heights:
                rows.update(connection.execute("SELECT height, bytes FROM heads WHERE height = ?", (height,)))
            return rows

        return await self._cache.db.read(read)


def _selecting(blind: Blind, head: bytes | None, request: Request) -> Selecting | None:
    """The selecting fields of the version, if `request` has the same; else None: somebody else will ask for that variant."""
    if head is None:
        return None
    try:
        check_head(blind.entry, head)
        fields = decode_stored_head(head).fields
    except (Corrupt, ValueError):
        return None
    for selecting in _candidates(fields, request):
        if variant_digest(selecting) == blind.entry.variant:
            return selecting
    return None


def _candidates(fields: Fields, request: Request) -> list[Selecting]:
    found = [vary.vary_names(fields, keep_accept_encoding=keep) for keep in (False, True)]
    return [vary.selecting(request, names) for names in found if names is not None]
