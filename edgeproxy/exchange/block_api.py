"""Blocks, heads and bodies for strangers, one at a time: /.edge/api/v1/blocks, /heads, /bodies.

Owns: what of the store may be seen in public, and in which form. Must not ask an origin or change anything.

  blocks?url=URL    the newest usable block of a URL: its bytes, its proof, its head; the body by its digest
  blocks/HEIGHT     the same of any block, named by its height; `head` and `body` are null where there is nothing to be had
  heads/HEX         one stored head        bodies/HEX    one body
  key               {"vkey"}: the log's public key, for those who trust whom they reach

Service workers recover pages with it, and other nodes rebuild themselves. Usable is what is whole, was not erased, is not
covered by a hard purge, and, under a rollback, was there then: what an operator took back is not given out by its digest either.
Nor is what a site has that does not publish, whichever host is asked. Nor is a variant that a visitor's cookie or credentials
selected: it is his, and a proof of it says them in clear; nor what the edge itself shows nobody before the origin allowed it. All
of it is proved before it is sent.

Where validators cosign, the newest block of a URL is the newest that is final: service workers believe no other. What was stored
just now is about to be, and is waited for.
"""

import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from edgeproxy.caching import vary
from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Digest
from edgeproxy.caching.storable import is_only_validated
from edgeproxy.errors import Corrupt, StoreError
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.public import FOR_ALL, NOT_KEPT, encode_json, json_error, other_method, tagged
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.site import Site, Sites
from edgeproxy.ledger.block import Stored
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.evidence import Clear, encode_clear
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.proof_file import ProofFile
from edgeproxy.ledger.verify import verify_block
from edgeproxy.sequencer.sequencer import Sequencer
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

log = logging.getLogger("edgeproxy.exchange")

PREFIX = "/.edge/api/v1/"

_LONGEST_URL = 8_192
_MOST_TRIED = 16
"""Versions looked at for one request: a body that thousands name costs no more than one that few do."""

_FINAL_WITHIN = 1.0
"""Seconds that an answer waits for its block to be final."""

_JSON = ("Content-Type", "application/json")
_BYTES = ("Content-Type", "application/octet-stream")
_FOR_A_YEAR = ("Cache-Control", "public, max-age=31536000, immutable")
_FOR_A_MINUTE = ("Cache-Control", "public, max-age=60")
_by_height = re.compile(r"blocks/(0|[1-9][0-9]{0,14})", re.ASCII).fullmatch
_by_digest = re.compile(r"(heads|bodies)/([0-9a-f]{64})", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class WholeBody:
    """A body to be streamed, each chunk proved, under these fields."""

    resident: Resident
    fields: Fields


class Finality(Protocol):
    """What validators have made of the checkpoints (`sequencer.validators`)."""

    @property
    def final(self) -> bytes | None:
        """The newest note with the cosignatures of a quorum."""
        ...

    def newest(self, note: bytes) -> bytes:
        """The log's own newest note with the cosignatures that it has so far."""
        ...

    async def covers(self, height: int, patience: float) -> bool:
        """Whether the block at `height` is final, or becomes so within `patience` seconds."""
        ...


class BlockApi:
    """`is_published` and `sites` follow the configuration. What is not published is not there. `finality`: None where nobody
    cosigns."""

    def __init__(
        self, cache: Cache, sequencer: Sequencer, sites: Sites, *, is_published: bool = True, finality: Finality | None = None
    ) -> None:
        self.sites = sites
        self.is_published = is_published
        self._cache = cache
        self._finality = finality
        self._sequencer = sequencer
        self._publication = sequencer.publication

    async def answer(self, request: Request) -> Page | WholeBody | None:
        """The answer to a request below `PREFIX`; None for a path that is not one of these, or when nothing is published."""
        path, _, query = request.target.partition("?")
        if not self.is_published or not path.startswith(PREFIX):
            return None
        name = path.removeprefix(PREFIX)
        height, digest = _by_height(name), _by_digest(name)
        if name not in ("blocks", "key") and height is None and digest is None:
            return None
        if (page := other_method(request)) is not None:
            return page
        try:
            if height is not None:
                return await self._block_at(request, int(height[1]))
            if digest is not None:
                kind, wanted = digest[1], Digest(bytes.fromhex(digest[2]))
                return await (self._head(request, wanted) if kind == "heads" else self._body(request, wanted))
            if name == "key":
                data = encode_json({"vkey": str(self._sequencer.log)})
                return tagged(request, data, Fields((_JSON, NOT_KEPT, *FOR_ALL)))
            return await self._newest(request, query)
        except StoreError as error:
            log.error("cannot be given out: %s: %s", name, error)
            return json_error(503, "this part of the store cannot be read at the moment")

    async def failed(self, given: WholeBody, error: Corrupt) -> None:
        """A body failed its proof on its way out: it is set aside, as if it had been asked for by its URL."""
        for version in self._of_body(given.resident.ref.digest):
            site = next((site for site in self.sites.sites if site.name == version.site), None)
            slot = self._cache.index.slot(primary_key(version.url, site.keys)) if site is not None else None
            for entry in tuple(slot.entries) if slot is not None else ():
                if self._cache.version_at(entry, version.height) is version:
                    await self._cache.body_failed(entry, given.resident, error)

    # -- blocks ---------------------------------------------------------------------------------------------------------------

    async def _newest(self, request: Request, query: str) -> Page:
        try:
            (url,) = parse_qs(query, strict_parsing=True, max_num_fields=8)["url"]
            host = urlsplit(url).hostname or ""
        except (ValueError, KeyError):
            return json_error(400, "url must be given once: blocks?url=ABSOLUTE_URL, percent-encoded")
        if not url.startswith(("http://", "https://")) or len(url) > _LONGEST_URL:
            return json_error(400, "url must be absolute, with http:// or https://, and not too long")
        site = self.sites.find(f"[{host}]" if ":" in host else host)
        if site is None or not site.publish:
            return json_error(404, "no usable block of this URL")
        patience = _FINAL_WITHIN
        async for version in self._usable_of(request, site, url):
            if self._finality is None or await self._finality.covers(version.height, patience):
                return await self._block(request, version)
            patience = 0.0
        return json_error(404, "no usable block of this URL" if patience else "no block of this URL is final yet")

    async def _usable_of(self, request: Request, site: Site, url: str) -> AsyncIterator[Version]:
        """Best first: of the variant that the request selects, else of the others; the newest of each.

        Blocks that were written under another key are left out: they prove nothing to who asks for this one. (A site's rules for
        keys may become others.)
        """
        key = primary_key(url, site.keys)
        await self._cache.adopt_missing(site, url, key, request)
        slot = self._cache.index.slot(key)
        if slot is None:
            return
        selected = self._cache.select(site, key, request)
        shown = [(entry, self._cache.to_show(entry)) for entry in slot.entries]
        for entry, versions in sorted(shown, key=lambda each: (each[0] is selected, _newest_height(each[1])), reverse=True):
            for version in _latest(versions):
                if version.url == key and await self._usable(site, entry, version) is not None:
                    yield version

    async def _block(self, request: Request, version: Version) -> Page:
        row = await self._cache.db.load(version.height)
        clear = Clear(version.url, version.selecting, self._cache.salt(version.site))
        content = await self._evidence(version.height, row.raw, encode_clear(clear))
        content |= {"head": _b64(row.head), "body": version.body.digest.hex(), "length": version.body.length}
        return tagged(request, encode_json(content), Fields((_JSON, NOT_KEPT, *FOR_ALL)))

    async def _block_at(self, request: Request, height: int) -> Page:
        checkpoint = read_checkpoint(self._publication.checkpoint)
        if checkpoint is None or height >= checkpoint.size:
            return json_error(404, "no such block")
        row = await self._cache.db.load(height)
        entry = verify_block(row.raw, Digest(row.leaf)).entry
        content = await self._evidence(height, row.raw, None)
        content |= {"head": None, "body": None, "length": entry.length if isinstance(entry, Stored) else None}
        if isinstance(entry, Stored):
            whole = await self._first_usable([v for v in self._cache.index.named().of_head(entry.head) if v.height == height])
            if whole is not None:
                content["head"] = _b64(row.head)
            # What was proved with its head need not be proved again.
            if whole is not None or await self._first_usable(self._of_body(entry.body)) is not None:
                content["body"] = entry.body.hex()
        return tagged(request, encode_json(content), Fields((_JSON, _FOR_A_MINUTE, *FOR_ALL)))

    def _checkpoint(self, height: int) -> bytes | None:
        """The note that the block at `height` is proved against: the final one if it covers the block, else the newest."""
        note = self._publication.checkpoint
        if self._finality is None or note is None:
            return note
        final = self._finality.final
        stated = read_checkpoint(final)
        return final if stated is not None and height < stated.size else self._finality.newest(note)

    async def _evidence(self, height: int, raw: bytes, extra: bytes | None) -> dict[str, object]:
        """Block and proof."""
        note = self._checkpoint(height)
        stated = read_checkpoint(note)
        if note is None or stated is None:
            raise StoreError("the ledger is not signed, since its checkpoint could not be kept")
        path = await self._publication.inclusion(height, stated.size)
        proof = ProofFile(height, path, note, extra).encode()
        return {"height": height, "block": _b64(raw), "proof": proof.decode()}

    # -- heads and bodies -----------------------------------------------------------------------------------------------------

    async def _head(self, request: Request, digest: Digest) -> Page:
        found = await self._first_usable(self._of_head(digest))
        if found is None:
            return json_error(404, "no such head")
        version, _ = found
        row = await self._cache.db.load(version.height)
        return tagged(request, row.head, Fields((_BYTES, _FOR_A_YEAR, *FOR_ALL)))

    async def _body(self, request: Request, digest: Digest) -> Page | WholeBody:
        found = await self._first_usable(self._of_body(digest))
        if found is None:
            return json_error(404, "no such body")
        _, resident = found
        etag = f'"{digest.hex()}"'
        fields = Fields((_BYTES, _FOR_A_YEAR, ("ETag", etag), *FOR_ALL))
        if request.fields.get("if-none-match") in (etag, "*"):
            return Page(304, fields.without(frozenset(("content-type",))), b"")
        return WholeBody(resident, fields)

    def _of_head(self, digest: Digest) -> list[Version]:
        return list(self._cache.index.named().of_head(digest))[-_MOST_TRIED:]

    def _of_body(self, digest: Digest) -> list[Version]:
        return list(self._cache.index.named().of_body(digest))[-_MOST_TRIED:]

    async def _first_usable(self, versions: list[Version]) -> tuple[Version, Resident] | None:
        by_name = {site.name: site for site in self.sites.sites}
        for version in reversed(versions):
            site = by_name.get(version.site)
            slot = self._cache.index.slot(primary_key(version.url, site.keys)) if site is not None else None
            for entry in tuple(slot.entries) if slot is not None else ():
                if site is not None and self._cache.version_at(entry, version.height) is version:
                    resident = await self._usable(site, entry, version)
                    if resident is not None:
                        return version, resident
        return None

    async def _usable(self, site: Site, entry: Entry, version: Version) -> Resident | None:
        """The version, proved, unless it must not be used (any more)."""
        is_public = site.publish and vary.is_for_all(version.selecting)
        if not is_public or not self._cache.bodies.exists(version.body.digest):
            return None
        resident = self._cache.tier.get(entry.tier_key)
        if resident is None or resident.stored.height != version.height:
            try:
                resident = await self._cache.prove(site, entry, version)
            except Corrupt as error:
                log.error("block %d cannot be given out: %s", version.height, error)
                return None
        if not self._cache.is_shown(site, entry, version, resident):
            return None
        rule = self._cache.rules.rolled_back(site.name, entry.key)
        is_pinned = rule is not None and self._cache.version_at(entry, rule.to) is version
        return resident if is_pinned or not is_only_validated(resident.stored, site.policy) else None


def _latest(versions: list[Version]) -> Iterator[Version]:
    """Newest first, a bounded number of them, as they are now."""
    return reversed(versions[-_MOST_TRIED:])


def _newest_height(versions: list[Version]) -> int:
    return versions[-1].height if versions else -1


def _b64(data: bytes) -> str:
    return b64encode(data).decode()
