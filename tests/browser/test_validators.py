"""Validators and the service worker: it keeps what a quorum cosigned, and nothing else that its edge may say."""

import asyncio
import json
from pathlib import Path

from edgeproxy.exchange.block_api import WholeBody
from edgeproxy.exchange.pages import Page
from edgeproxy.ledger.checkpoint import open_checkpoint
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.ledger.proof_file import parse_proof_file
from edgeproxy.wire.messages import Request
from tests.support.chromium import chromium
from tests.support.edge import until
from tests.support.parts import need
from tests.support.scripted import fronted, page
from tests.support.validators import configured, introduce, local_validators
from tests.support.worker_pages import CONTROLLED, STATE, keeps

ON = '[site.service_worker]\nmode = "on"\n'
API = "/.edge/api/v1"


def html(name: str) -> str:
    return f"<!doctype html><html><head><title>{name}</title></head><body><h1>{name}</h1></body></html>"


async def test_a_page_is_kept_once_it_is_final_and_not_on_the_edges_word_alone(tmp_path: Path) -> None:
    need("chromium")
    ways = {f"/{name}": page(html(name), Content_Type="text/html", Cache_Control="max-age=0") for name in ("one", "two")}
    async with local_validators(tmp_path, 3) as validators, chromium(tmp_path) as browser:
        async with fronted(tmp_path, ways, site=ON, more=configured(validators, 2)) as it:
            base, edge = it.client.base, it.edge
            introduce(edge, base, validators)
            keys = [parse_verifier(each.vkey) for each in validators]

            async def told(name: str) -> dict[str, str] | None:
                answer = await it.client.ask(f"{API}/blocks", params={"url": f"{base}/{name}"})
                return json.loads(answer.body) if answer.status == 200 else None

            said = {"quorum": 2, "keys": [each.vkey for each in validators]}
            script = (await it.client.ask("/.edge/sw.js")).body.decode().partition("\n")[0]
            assert json.loads(script.removeprefix("self.EDGE=").removesuffix(";"))["validators"] == said
            control = (await it.client.ask(f"{API}/control")).body.decode().splitlines()[2]
            assert json.loads(control)["validators"] == said

            await browser.open(f"{base}/one")
            await browser.until(CONTROLLED)
            await browser.until(keeps(f"{base}/one"))
            proof = parse_proof_file((await until(lambda: told("one")))["proof"].encode())
            log = edge.sequencer.log
            assert len(open_checkpoint(proof.note, log, log.name, keys).cosigned) >= 2

            # Nobody is asked to cosign any more: what comes now is not given out.
            assert edge.validators is not None
            await edge.validators.stop()
            await browser.open(f"{base}/two")
            await edge.sequencer.flush()
            missing = await it.client.ask(f"{API}/blocks", params={"url": f"{base}/two"})
            assert (missing.status, json.loads(missing.body)) == (404, {"error": "no block of this URL is final yet"})

            # An edge that gives it out all the same, under the log's own key.
            edge.block_api._finality = None
            asked = edge.block_api.answer
            answered = asyncio.Event()

            async def watched(request: Request) -> Page | WholeBody | None:
                answer = await asked(request)
                if request.target.endswith("two"):
                    answered.set()
                return answer

            assert await told("two") is not None
            edge.block_api.answer = watched  # type: ignore[method-assign]
            await browser.tell("ServiceWorker.enable")
            await browser.tell("ServiceWorker.stopAllWorkers")
            await browser.open(f"{base}/two")
            async with asyncio.timeout(20):
                await answered.wait()
            # One after the other: when this is kept, the other was judged.
            await browser.open(f"{base}/one")
            assert await browser.ask(keeps(f"{base}/one"))
            assert not await browser.ask(keeps(f"{base}/two"))
        await browser.open(f"{base}/one")
        assert await browser.ask(STATE) == "recovered"
        await browser.open(f"{base}/two")
        assert await browser.ask("document.title") != "two"
