"""Blocks, heads and bodies on the public side: what anyone may have of the store, proved, and what nobody may."""

import asyncio
import base64
import json
from functools import partial
from pathlib import Path
from urllib.parse import quote

from edgeproxy.app import Edge
from edgeproxy.caching.model import Digest
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.ledger.digests import url_digest
from edgeproxy.ledger.evidence import Evidence, Proven, check_evidence
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.proof_file import parse_proof_file
from edgeproxy.storage.shards import Shards
from tests.support.edge import Answer, Client, command, running_edge, until
from tests.support.scripted import fronted, page
from tests.support.site import content, running_site

API = "/.edge/api/v1/"


async def _block(client: Client, name: str, **options: object) -> dict[str, object]:
    answer = await client.ask(f"{API}{name}", **options)
    assert answer.status == 200, answer.body
    return dict(_json(answer))


def _json(answer: Answer) -> dict[str, object]:
    assert answer["Content-Type"] == "application/json"
    assert answer["Access-Control-Allow-Origin"] == "*"
    return dict(json.loads(answer.body))


def _of(client: Client, target: str) -> str:
    return f"blocks?url={quote(client.base + target, safe='')}"


def _proven(edge: Edge, told: dict[str, object], body: bytes | None = None) -> Proven:
    block, proof, head = (str(told[name]) for name in ("block", "proof", "head"))
    evidence = Evidence(parse_proof_file(proof.encode()), base64.b64decode(block), base64.b64decode(head), body)
    return check_evidence(evidence, edge.sequencer.log)


async def test_a_stranger_gets_the_newest_block_of_a_url_with_all_that_proves_it(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = "/a?max-age=60"
        shown = await client.recorded(target)
        told = await _block(client, _of(client, target))
        assert told["height"] == int(shown["Edge-Block"])
        body = await client.ask(f"{API}bodies/{told['body']}")
        assert (body.status, body.body, told["length"]) == (200, content(target), len(content(target)))
        proven = _proven(edge, told, body.body)
        assert proven.clear is not None
        assert (proven.clear.url, proven.head, proven.body) == (client.base + target, True, True)
        head = await client.ask(f"{API}heads/{proven.entry.head.hex()}")
        assert (head.status, head.body) == (200, base64.b64decode(str(told["head"])))
        for answer in (head, body):
            assert answer["Content-Type"] == "application/octet-stream"
            assert answer["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer["Access-Control-Allow-Origin"] == "*"
        same = await client.ask(f"{API}bodies/{told['body']}", headers={"If-None-Match": body["ETag"]})
        assert (same.status, same.body) == (304, b"")
        only_head = await client.ask(f"{API}bodies/{told['body']}", "HEAD")
        assert (only_head.status, only_head["Content-Length"], only_head.body) == (200, str(len(body.body)), b"")
        by_height = await _block(client, f"blocks/{told['height']}")
        assert {name: by_height[name] for name in ("block", "head", "body", "length")} == {
            name: told[name] for name in ("block", "head", "body", "length")
        }
        assert _proven(edge, by_height).clear is None, "only who named the URL sees it"
        genesis = await _block(client, "blocks/0")
        assert (genesis["head"], genesis["body"], genesis["length"]) == (None, None, None)
        assert len(origin.seen) == 1


async def test_a_large_body_is_streamed_and_a_damaged_one_is_not_given_out(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = f"/big?max-age=60&size={WHOLE_BODY_LIMIT + 70_000}"
        shown = await client.recorded(target)
        told = await _block(client, _of(client, target))
        body = await client.ask(f"{API}bodies/{told['body']}")
        assert body.body == shown.body
        _proven(edge, told, body.body)
        edge.tier.remove(edge.cache.index.entry(edge.handler.sites.sites[0].name, client.base + target, ()).tier_key)
        path = Shards(edge.config.edge.data).path(Digest(bytes.fromhex(str(told["body"]))))
        path.write_bytes(bytes(len(body.body)))
        for name in (_of(client, target), f"bodies/{told['body']}"):
            assert (await client.ask(API + name)).status == 404
        assert (await _block(client, f"blocks/{told['height']}"))["head"] is None


async def test_the_variant_that_the_asker_selects_comes_first(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = "/a?max-age=60&vary=accept-language"
        for language in ("de", "fr"):
            await client.recorded(target, headers={"Accept-Language": language})
        for language, expected in (("de", "de"), ("fr", "fr"), ("it", "fr")):
            told = await _block(client, _of(client, target), headers={"Accept-Language": language})
            proven = _proven(edge, told)
            assert proven.clear is not None
            assert proven.clear.selecting == (("accept-language", expected),)


async def test_what_was_purged_for_good_is_not_given_out_by_its_digest_either(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = "/a?max-age=60"
        await client.recorded(target)
        told = await _block(client, _of(client, target))
        head = _proven(edge, told).entry.head.hex()
        admin = await asyncio.to_thread(_purge, edge, client.base + target)
        assert admin == 0
        for name in (_of(client, target), f"bodies/{told['body']}", f"heads/{head}"):
            answer = await client.ask(API + name)
            assert (answer.status, list(_json(answer))) == (404, ["error"])
        by_height = await _block(client, f"blocks/{told['height']}")
        assert (by_height["head"], by_height["body"], by_height["block"]) == (None, None, told["block"])


def _purge(edge: Edge, url: str) -> int:
    return command("purge", url, "--hard", "--data", str(edge.config.edge.data)).returncode


async def test_whatever_is_not_there_or_not_understood_is_said_in_json(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        zeros = "0" * 64
        for name, status in (
            ("blocks", 400),
            ("blocks?url=", 400),
            ("blocks?url=/a", 400),
            ("blocks?url=http%3A%2F%2F%5B%2Fa", 400),
            ("blocks?url=http://a/&url=http://b/", 400),
            ("blocks?url=http://a/" + "a" * 8_192, 400),
            ("blocks?url=http://nowhere.example/", 404),
            ("blocks/1", 404),
            (f"bodies/{zeros}", 404),
            (f"heads/{zeros}", 404),
        ):
            answer = await client.ask(API + name)
            assert (answer.status, list(_json(answer))) == (status, ["error"]), name
        for name in ("blocks/01", "blocks/-1", "blocks/" + "9" * 16, "bodies/0", f"bodies/{'A' * 64}", "none"):
            answer = await client.ask(API + name)
            assert (answer.status, answer["Content-Type"]) == (404, "text/html; charset=utf-8"), name
        asked = await client.ask(f"{API}blocks/0", "OPTIONS")
        assert (asked.status, asked["Access-Control-Allow-Origin"]) == (204, "*")
        assert (await client.ask(f"{API}blocks/0", "POST")).status == 405
        edge.block_api.is_published = False
        assert (await client.ask(f"{API}blocks/0")).status == 404
        assert origin.seen == []


async def test_a_block_is_of_the_key_of_its_url_however_it_was_first_asked_for(tmp_path: Path) -> None:
    """Who knows a page's URL can compute what its block names, and look it up, whatever the first visitor's link looked like."""
    site = '[site.cache]\nignore_query = ["utm_*"]\n'
    async with running_site() as origin, running_edge(tmp_path, origin.url, site=site) as (edge, client):
        key = "/a?max-age=60"
        shown = await client.recorded(f"{key}&utm_source=letter")
        for asked in (key, f"{key}&utm_source=other"):
            told = await _block(client, _of(client, asked))
            proven = _proven(edge, told)
            assert proven.clear is not None
            assert (proven.clear.url, told["height"]) == (client.base + key, int(shown["Edge-Block"]))
        digest = url_digest(edge.cache.salt("*"), client.base + key)
        mirrored = await client.ask(f"/.edge/mirror/blocks/{digest.hex()}.json")
        assert _json(mirrored)["height"] == told["height"]
        for asked in (key, f"{key}&utm_source=letter"):
            history = await edge.backend.ledger_history(client.base + asked, 10)
            assert [each["height"] for each in history["versions"]] == [told["height"]], asked


async def test_under_a_rollback_the_version_that_is_served_is_given_out(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = "/a?max-age=60"
        old = await client.recorded(target)
        data = str(edge.config.edge.data)
        origin.version = "2"
        await asyncio.to_thread(command, "purge", client.base + target, "--hard", "--data", data)
        new = await client.recorded(target)
        assert (await _block(client, _of(client, target)))["height"] == int(new["Edge-Block"])
        done = await asyncio.to_thread(command, "rollback", "--to", old["Edge-Block"], "--data", data)
        assert done.returncode == 0, done.stderr
        told = await _block(client, _of(client, target))
        assert told["height"] == int(old["Edge-Block"])
        assert (await client.ask(f"{API}bodies/{told['body']}")).body == old.body


async def test_a_variant_that_a_secret_selected_is_nobody_elses(tmp_path: Path) -> None:
    secret = "session=6f1c"
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        target = "/a?max-age=60&vary=cookie"
        own = await client.recorded(target, headers={"Cookie": secret})
        height = own["Edge-Block"]
        told = await _block(client, f"blocks/{height}")
        assert (told["head"], told["body"]) == (None, None)
        version = edge.sequencer.fold.history(client.base + target)[-1]
        for name in (_of(client, target), f"bodies/{version.body.digest.hex()}", f"heads/{version.head.hex()}"):
            for fields in ({}, {"Cookie": secret}):
                answer = await client.ask(API + name, headers=fields)
                assert (answer.status, secret.encode() in answer.body) == (404, False), name
        without = await client.recorded(target)
        assert (await _block(client, _of(client, target)))["height"] == int(without["Edge-Block"]), "nobody's secret is in it"


async def _history(edge: Edge, url: str) -> list[Version] | None:
    return edge.sequencer.fold.history(url) or None


async def test_what_is_never_shown_without_the_origins_word_is_not_given_out_without_it(tmp_path: Path) -> None:
    ways = {
        "/mine": page("mine", Cache_Control="must-revalidate, max-age=0", ETag='"m"'),
        "/asked": page("asked", Cache_Control="no-cache", ETag='"a"'),
        "/all": page("all", Cache_Control="public, max-age=0, must-revalidate", ETag='"p"'),
        "/short": page("short", Cache_Control="max-age=60, must-revalidate", ETag='"s"'),
    }
    async with fronted(tmp_path, ways) as it:
        given = {}
        for target in ways:
            await it.client.ask(target, headers={"Authorization": "Basic YTpi"} if target == "/mine" else {})
            (version,) = await until(partial(_history, it.edge, it.client.base + target))
            names = (_of(it.client, target), f"bodies/{version.body.digest.hex()}", f"heads/{version.head.hex()}")
            statuses = {(await it.client.ask(API + name)).status for name in names}
            by_height = await _block(it.client, f"blocks/{version.height}")
            statuses |= {404 if by_height[part] is None else 200 for part in ("head", "body")}
            (given[target],) = statuses
        assert given == {"/mine": 404, "/asked": 404, "/all": 200, "/short": 200}
