"""A site that does not publish, beside one that does, on one edge: nothing of its content is given to strangers, on no host."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

from edgeproxy.config import load
from edgeproxy.ledger.digests import url_digest
from tests.support.edge import Answer, Client, running_edge, write_config
from tests.support.site import running_site

API = "/.edge/api/v1/"
PRIVATE, PUBLIC = "intern.example", "www.example"


def sites(origin: str, *, publish: str = "false") -> str:
    """Two sites; the first, which `running_edge` writes, is that of any other host."""
    tables = f'[[site]]\nhosts = ["{{}}"]\norigins = ["{origin}"]\n{{}}'
    return "\n".join((tables.format(PUBLIC, ""), tables.format(PRIVATE, f"publish = {publish}")))


async def at(client: Client, host: str, target: str) -> Answer:
    return await client.ask(target, headers={"Host": host})


async def test_nothing_of_a_private_site_is_given_to_strangers(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, more=sites(site.url)) as (edge, client):
        # What a public site has too, byte by byte, is public: so the heads are not the same.
        paths = {PRIVATE: "/a?max-age=61", PUBLIC: "/b?max-age=60"}
        stored = {host: await client.recorded(path, headers={"Host": host}) for host, path in paths.items()}
        heights = {host: int(answer["Edge-Block"]) for host, answer in stored.items()}
        versions = {host: edge.sequencer.fold.history(f"http://{host}{path}")[-1] for host, path in paths.items()}
        digest = url_digest(edge.cache.salt(PRIVATE), versions[PRIVATE].url).hex()
        # On its own hosts nothing is there at all.
        names = [f"{API}blocks/{heights[PUBLIC]}", f"{API}key", f"{API}bodies/{versions[PUBLIC].body.digest.hex()}"]
        names += ["/.edge/ledger/checkpoint", "/.edge/ledger/tile/0/000.p/1", "/.edge/mirror/ledger/checkpoint"]
        for name in names:
            assert (await at(client, PUBLIC, name)).status == 200, name
            absent = await at(client, PRIVATE, name)
            assert absent.status == 404, name
            # A page of another origin has to be able to read that a mirror has no such file.
            assert absent["Access-Control-Allow-Origin"] == ("*" if "/mirror/" in name else ""), name
        # On others it is not found by its URL, its height, its digests.
        for host in (PUBLIC, PRIVATE, "127.0.0.1"):
            for name in (
                f"{API}blocks?url={quote(versions[PRIVATE].url, safe='')}",
                f"{API}bodies/{versions[PRIVATE].body.digest.hex()}",
                f"{API}heads/{versions[PRIVATE].head.hex()}",
                f"/.edge/mirror/blocks/{digest}.json",
                f"/.edge/mirror/bodies/{versions[PRIVATE].body.digest.hex()}",
            ):
                assert (await at(client, host, name)).status == 404, (host, name)
        told = json.loads((await at(client, PUBLIC, f"{API}blocks/{heights[PRIVATE]}")).body)
        assert (told["head"], told["body"]) == (None, None)
        # The block itself is of the one tree, and can be proved.
        assert base64.b64decode(told["block"]) == (await edge.db.load(heights[PRIVATE])).raw
        # Its visitors see no difference.
        assert (await at(client, PRIVATE, paths[PRIVATE])).body == stored[PRIVATE].body


async def test_a_reload_publishes_a_site_and_hides_it_again(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, more=sites(site.url)) as (edge, client):
        await client.recorded(f"/{PRIVATE}?max-age=60", headers={"Host": PRIVATE})
        name = f"{API}blocks?url={quote(f'http://{PRIVATE}/{PRIVATE}?max-age=60', safe='')}"
        for publish, status in (("true", 200), ("false", 404)):
            path = write_config(tmp_path, site.url, more=sites(site.url, publish=publish))
            assert load(path).sites[1].publish is (publish == "true")
            assert await edge.reload() == []
            for host in (PRIVATE, PUBLIC):
                assert (await at(client, host, name)).status == status


async def test_a_body_that_a_public_site_has_too_is_public(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url, more=sites(site.url)) as (edge, client):
        await client.recorded("/same?max-age=60", headers={"Host": PUBLIC})
        await client.recorded("/same?max-age=60", headers={"Host": PRIVATE})
        history = edge.sequencer.fold.history
        (of_public,), (of_private,) = (history(f"http://{host}/same?max-age=60") for host in (PUBLIC, PRIVATE))
        assert of_public.body == of_private.body
        assert (await at(client, PUBLIC, f"{API}bodies/{of_public.body.digest.hex()}")).status == 200
