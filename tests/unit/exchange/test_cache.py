"""What the cache finds: under a rollback, on a node that was rebuilt without clear URLs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Height
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.index import Index
from edgeproxy.ledger.drafts import RollbackDraft
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.memory import MemoryTier
from edgeproxy.wire.http1 import Limits, parse_request_head
from edgeproxy.wire.messages import Request
from tests.support.ledgers import NOW, SITE, Ledger, head_for, store_draft

URL = f"http://{SITE}/page"
GERMAN = (("accept-language", "de"),)


def _request(language: str) -> Request:
    head = f"GET /page HTTP/1.1\r\nHost: {SITE}\r\nAccept-Language: {language}\r\n\r\n"
    return parse_request_head(head.encode(), Limits(), scheme="http")


async def test_under_a_rollback_an_unknown_variant_of_then_is_adopted_though_another_answers_now(tmp_path: Path) -> None:
    async with Ledger(tmp_path, BodyStore(tmp_path)) as ledger:
        varies = head_for(1) + b"Vary: Accept-Language\r\n"
        ledger.sequencer.append(store_draft(1, url=URL, selecting=GERMAN, head=varies, body=await ledger.body(b"then")))
        ledger.sequencer.append(store_draft(2, url=URL, body=await ledger.body(b"now")))
        ledger.sequencer.append(RollbackDraft(SITE, "site", SITE, Height(1), "refuse", NOW))
        await ledger.sequencer.flush()
        then, now = ledger.fold.history(URL)
        index, asked = Index(), list[str]()
        index.add(index.entry(SITE, URL, ()), now)
        bodies: Any = ledger.bodies
        cache = Cache(index, MemoryTier(1 << 20), ledger.fold.rules, bodies, ledger.db, ledger.fold.genesis_salt)

        async def adopt(_: object, url: str, key: str, request: Request) -> bool:
            asked.append(url)
            if request.fields.get("accept-language") == "de":
                index.add(index.entry(SITE, key, GERMAN), then)
            return True

        cache.adopt = adopt
        site: Any = SimpleNamespace(name=SITE, keys=KeyRules(), policy=None, memory_object=1 << 20)
        cache.describe = lambda *_: None  # type: ignore[method-assign]
        assert (await cache.find(site, _request("fr"), NOW)).refused == 404
        found = await cache.find(site, _request("de"), NOW)
        assert found.pinned
        assert found.resident is not None
        assert found.resident.stored.height == then.height
        assert asked == [URL, URL]
        assert (await cache.find(site, _request("de"), NOW)).pinned
        assert len(asked) == 2, "what is known is not looked for again"
