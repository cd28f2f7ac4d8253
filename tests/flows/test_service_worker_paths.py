"""The edge's side of the service worker over the wire: scripts, orders, receipts, the mirror's paths, what outlives a restart."""

import json
import uuid
from pathlib import Path

import pytest

from edgeproxy.app import Edge
from edgeproxy.ledger.block_document import check_document
from edgeproxy.ledger.control import Control, open_control
from edgeproxy.ledger.digests import sha256, url_digest
from tests.support.edge import Answer, Client, client_at, running_edge, until
from tests.support.site import running_site
from tests.support.worker_files import PLACEHOLDERS, placeholder_scripts

__all__ = ["placeholder_scripts"]

ON = '[site.service_worker]\nmode = "on"\nmirrors = ["https://mirror.example.net/www/"]\n'
WORKER, CONTROL, RECEIPTS = "/.edge/sw.js", "/.edge/api/v1/control", "/.edge/api/v1/receipts"

pytestmark = pytest.mark.usefixtures("placeholder_scripts")


def values_of(answer: Answer, name: str = "EDGE") -> dict[str, object]:
    """What the first line of a script sets."""
    line, _, rest = answer.body.partition(b"\n")
    assert line.startswith(f"self.{name}=".encode())
    assert line.endswith(b";")
    assert rest in PLACEHOLDERS.values()
    return dict(json.loads(line.removeprefix(f"self.{name}=".encode())[:-1]))


def control_of(edge: Edge, answer: Answer) -> Control:
    return open_control(answer.body, edge.sequencer.log)


def receipt(url: str, block: int | None, **changed: object) -> dict[str, object]:
    given = {"id": str(uuid.uuid4()), "url": url, "source": "cache", "cause": "network", "block": block}
    return {**given, "served": 0, "dest": "document", "trace": "", **changed}


async def post(client: Client, token: str, *receipts: dict[str, object], **options: object) -> Answer:
    body = json.dumps({"token": token, "receipts": list(receipts)})
    headers = {"Content-Type": "application/json", **options.pop("headers", {})}  # type: ignore[dict-item]
    return await client.ask(RECEIPTS, "POST", data=body, headers=headers, **options)


async def test_the_worker_its_orders_and_its_end_are_at_fixed_urls_and_survive_a_restart(tmp_path: Path) -> None:
    async with running_site() as site:
        async with running_edge(tmp_path, site.url, site=ON) as (edge, client):
            worker = await client.ask(WORKER)
            assert worker.status == 200
            assert worker["Content-Type"] == "text/javascript; charset=utf-8"
            assert worker["Service-Worker-Allowed"] == "/"
            assert worker["Cache-Control"] == "no-cache"
            assert worker["X-Content-Type-Options"] == "nosniff"
            assert worker["Content-Security-Policy"] == "script-src 'none'"
            told = values_of(worker)
            assert told["keys"] == [str(edge.sequencer.log)]
            assert (told["origin"], told["site"], told["mode"]) == (edge.sequencer.log.name, "127.0.0.1", "on")
            assert told["mirrors"] == ["https://mirror.example.net/www"]
            assert told["limits"] == {"bytes": 50 << 20, "navigation": 8000}
            known = await client.ask(WORKER, headers={"If-None-Match": worker["ETag"]})
            assert (known.status, known.body, known["Service-Worker-Allowed"]) == (304, b"", "/")

            page_script = await client.ask("/.edge/ui/register.js")
            assert values_of(page_script, "EDGE_PAGE") == {"mode": "on", "percent": 100}
            banner = await client.ask("/.edge/ui/banner.js")
            assert banner.body == PLACEHOLDERS["banner.js"]
            for script in (page_script, banner):
                assert script["Cache-Control"] == "public, max-age=3600"
                assert script["Cross-Origin-Resource-Policy"] == "same-origin"

            first = await client.ask(CONTROL)
            control = control_of(edge, first)
            assert (control.mode, control.site, control.max_stale, control.percent) == ("on", "127.0.0.1", 604_800, 100)
            assert control.salt == edge.cache.salt("*")
            assert first["Access-Control-Expose-Headers"] == "Edge-Receipt-Token"
            assert first["Cache-Control"] == "no-store"
            assert (await client.ask(CONTROL)).body == first.body, "one serial, one text"
            assert (await client.ask(CONTROL, "POST", data=b"x")).status == 405

            # Layers 1 and 2 of the kill switch, and the page's script.
            await edge.browsers.order(None, "kill")
            killed = control_of(edge, await client.ask(CONTROL))
            assert killed.mode == "kill"
            assert killed.serial > control.serial
            for path in (WORKER, f"{WORKER}?x"):
                answer = await client.ask(path)
                assert (answer.status, answer.body) == (200, PLACEHOLDERS["kill.js"])
                assert answer["Service-Worker-Allowed"] == "/"
                assert answer["Content-Type"] == "text/javascript; charset=utf-8"
            assert values_of(await client.ask("/.edge/ui/register.js"), "EDGE_PAGE")["mode"] == "kill"

        async with running_edge(tmp_path, site.url, site=ON) as (edge, client):
            again = control_of(edge, await client.ask(CONTROL))
            assert again.mode == "kill", "an operator's order outlives the process"
            assert again.serial > killed.serial
            await edge.browsers.order("127.0.0.1", "observe")
            assert control_of(edge, await client.ask(CONTROL)).mode == "observe"
            await edge.browsers.order(None, "config")
            assert control_of(edge, await client.ask(CONTROL)).mode == "on"
            before = (await client.ask(WORKER)).body
            old = str(edge.sequencer.log)
            await edge.sequencer.rotate()
            after = await client.ask(WORKER)
            assert before != after.body
            assert values_of(after)["keys"] == [str(edge.sequencer.log), old]


async def test_a_site_that_never_had_it_gets_the_script_that_removes_it(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url) as (edge, client):
        assert (await client.ask(WORKER)).body == PLACEHOLDERS["kill.js"]
        assert control_of(edge, await client.ask(CONTROL)).mode == "kill"
        assert not edge.browsers.workers.is_injected("*", "127.0.0.1")


async def test_ours_yields_to_a_service_worker_of_the_site(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, site=ON) as (edge, client):
        workers = edge.browsers.workers
        assert workers.is_injected("*", "127.0.0.1")
        script = {"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"}
        await client.ask(WORKER, headers=script)
        await client.ask("/missing.js?status=404", headers=script)
        await client.ask("/app.js?max-age=60", headers={**script, "Sec-Fetch-Dest": "script"})
        assert not workers.has_own("127.0.0.1")
        serial = workers.serial
        await client.recorded("/sw.js?max-age=60")
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3"):
            assert not workers.has_own("127.0.0.1"), "two can be one stranger"
            async with client_at(address, client.base) as another:
                await another.ask("/sw.js?max-age=60", headers=script)
        assert workers.has_own("127.0.0.1")
        assert not workers.is_injected("*", "127.0.0.1")
        control = control_of(edge, await client.ask(CONTROL))
        assert (control.mode, control.serial > serial) == ("kill", True)
        await edge.browsers.order("*", "on")
        assert workers.is_injected("*", "127.0.0.1")


async def test_receipts_become_blocks_that_say_who_was_saved(tmp_path: Path) -> None:
    async with running_site() as site:
        async with running_edge(tmp_path, site.url, site=ON) as (edge, client):
            stored = await client.recorded("/page?max-age=60")
            height, url, now = int(stored["Edge-Block"]), f"{client.base}/page?max-age=60", edge.clock.now()
            edge.browsers.receipts._window = 0.2
            token = (await client.ask(CONTROL))["Edge-Receipt-Token"]
            good = receipt(url, height, served=now, trace="ab" * 16)
            answer = await post(client, token, good, receipt(url, height, served=now - 5), good)
            assert (answer.status, json.loads(answer.body)) == (202, {"accepted": 2, "duplicate": 1, "refused": 0})
            none = receipt(f"{client.base}/never", None, source="none", cause="status-503", served=now)
            tampered = receipt(url, None, cause="cache-bad", served=now)
            refused = [
                receipt(url, height, cause="edge-bad", source="edge", served=now),
                receipt("http://other.example/page", height, served=now),
                receipt(url, height + 100, served=now),
                receipt(f"{client.base}/other", height, served=now),
                receipt(url, None, served=now),
                receipt(url, height, served=now - 8 * 86_400_000),
                receipt(url, height, served=now + 3_600_000),
            ]
            answer = await client.ask(
                RECEIPTS,
                "POST",
                data=json.dumps({"token": token, "receipts": [none, tampered, *refused]}),
                headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": client.base},
            )
            assert json.loads(answer.body) == {"accepted": 2, "duplicate": 0, "refused": 7}
            assert answer["Access-Control-Allow-Origin"] == client.base

            async def written() -> list[dict[str, object]] | None:
                shown = [await edge.backend.ledger_show(at) for at in range(height + 1, edge.sequencer.head().size)]
                found = [each for each in shown if each is not None and each["block"]["op"] == "receipt"]
                return found if len(found) == 3 else None

            blocks = {(each["block"]["source"], each["block"]["cause"]): each for each in await until(written)}  # type: ignore[index]
            saved = blocks["cache", "network"]["block"]
            assert blocks["cache", "network"]["url"] == url
            assert saved["count"] == 2  # type: ignore[index]
            assert saved["block"] == height  # type: ignore[index]
            assert saved["served"] == now  # type: ignore[index]
            assert saved["trace"] == "ab" * 16  # type: ignore[index]
            assert blocks["none", "status-503"]["block"]["block"] is None  # type: ignore[index]
            (shown,) = (await edge.backend.status())["service_workers"]["sites"]
            assert shown["receipts"]["by_source"] == {"cache": 3, "none": 1}
            assert [shown["receipts"][name] for name in ("day", "served", "unproved")] == [4, 2, 1]
            text = edge.backend.metrics().decode()
            assert 'edgeproxy_receipts_total{site="*",source="cache",cause="network"} 2' in text
            assert 'edgeproxy_receipts_refused_total{reason="block"} 4' in text

            report = await client.ask(RECEIPTS, "POST", data=b'{"register":"foreign_sw"}', headers={"Content-Type": "text/plain"})
            assert report.status == 204
            assert 'edgeproxy_worker_registrations_total{site="*",outcome="foreign_sw"} 1' in edge.backend.metrics().decode()

        async with running_edge(tmp_path, site.url, site=ON) as (edge, client):
            assert json.loads((await post(client, token, good)).body)["duplicate"] == 1, "known after a restart too"
            saved_before = edge.browsers.receipts.saved

            async def recalled() -> bool | None:
                return saved_before.view("*", edge.clock.now())["day"] == 4 or None

            await until(recalled)


async def test_receipts_that_nobody_may_send(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, site=ON) as (edge, client):
        token = (await client.ask(CONTROL))["Edge-Receipt-Token"]
        one = receipt(f"{client.base}/x", None, source="none", served=edge.clock.now())
        json_type = {"Content-Type": "application/json"}
        for data, headers, status in (
            (b"{}", json_type, 400),
            (b"[", json_type, 400),
            (b'{"token":"","receipts":[]}', json_type, 400),
            (b"x" * 16_385, json_type, 413),
            (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
            (b"{}", {**json_type, "Content-Encoding": "gzip"}, 415),
            (b"{}", {**json_type, "Origin": "https://evil.example"}, 403),
            (b"{}", {**json_type, "Origin": "null"}, 403),
        ):
            answer = await client.ask(RECEIPTS, "POST", data=data, headers=headers)
            assert answer.status == status, (data[:40], headers)
            assert json.loads(answer.body)["error"]
        stolen = (await client.ask(CONTROL, headers={"Host": "other.example"}))["Edge-Receipt-Token"]
        for bad in ("", "x", token[:-4] + "AAAA", stolen):
            assert (await post(client, bad, one)).status == 403
        many = [receipt(f"{client.base}/x", None, source="none", served=0) for _ in range(21)]
        assert (await post(client, token, *many)).status == 400
        assert (await client.ask(RECEIPTS)).status == 405
        asked = await client.ask(RECEIPTS, "OPTIONS", headers={"Origin": client.base})
        assert (asked.status, asked["Access-Control-Allow-Methods"]) == (204, "POST")
        statuses = [(await post(client, token, one)).status for _ in range(40)]
        assert 429 in statuses, "one client may post so many and no more"
        assert (tmp_path / "data" / "receipt-key").stat().st_mode & 0o777 == 0o600
        assert edge.sequencer.head().size < 10


async def test_an_edge_is_a_mirror_of_itself(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, site=ON) as (edge, client):
        stored = await client.recorded("/page?max-age=60")
        later = await client.recorded("/later?max-age=60")
        for answer, target in ((stored, "/page?max-age=60"), (later, "/later?max-age=60")):
            digest = url_digest(edge.cache.salt("*"), f"{client.base}{target}")
            document = await client.ask(f"/.edge/mirror/blocks/{digest.hex()}.json")
            assert document["Access-Control-Allow-Origin"] == "*"
            entry = check_document(document.body, digest, edge.sequencer.log)
            assert entry.height == int(answer["Edge-Block"])
            body = await client.ask(f"/.edge/mirror/bodies/{entry.body.hex()}")
            assert body.body == answer.body
            assert sha256(body.body) == entry.body
        newest = await client.recorded("/newest?max-age=60")
        digest = url_digest(edge.cache.salt("*"), f"{client.base}/newest?max-age=60")
        assert newest.status == (await client.ask(f"/.edge/mirror/blocks/{digest.hex()}.json")).status
        control = await client.ask("/.edge/mirror/control")
        assert control_of(edge, control).site == "127.0.0.1"
        assert "Edge-Receipt-Token" not in control.headers  # type: ignore[operator]
        paged = await client.ask("/.edge/mirror/control", headers={"Origin": "https://www.example.org"})
        assert control_of(edge, paged).site == "www.example.org"
        assert (await client.ask("/.edge/mirror/ledger/checkpoint")).body == (await client.ask("/.edge/ledger/checkpoint")).body
        for name in ("blocks/00.json", f"blocks/{'0' * 64}.json", "bodies/zz", "", "control/x"):
            absent = await client.ask(f"/.edge/mirror/{name}")
            assert (absent.status, absent["Access-Control-Allow-Origin"]) == (404, "*")
        edge.block_api.is_published = edge.ledger_files.is_published = False
        known, unknown = [await client.ask(f"/.edge/mirror/blocks/{each}.json") for each in (digest.hex(), "0" * 64)]
        assert (known.status, known.body) == (unknown.status, unknown.body) == (404, absent.body), "not even whether it is known"
        assert (await client.ask("/.edge/mirror/control")).status == 200
