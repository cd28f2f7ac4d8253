"""An operator sees that an origin died, since when and why: in `status`, in the metrics, in the log."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.app import Edge
from tests.support.edge import command, json_of, running_edge, until
from tests.support.origin_process import OriginProcess
from tests.support.prometheus_text import read_metrics


def up(edge: Edge, url: str) -> float:
    name = "edgeproxy_origin_up"
    return read_metrics(edge.metrics.render())[name].value(name, site="*", origin=url)


async def told(edge: Edge) -> tuple[str, str, str]:
    """State and reason of the only origin, and what a person reads on standard error."""
    data = str(edge.config.edge.data)
    (origin,) = json_of(await asyncio.to_thread(command, "status", "--json", "--data", data))["sites"][0]["origins"]
    shown = await asyncio.to_thread(command, "status", "--data", data)
    assert shown.returncode == 0
    return origin["state"], origin["why"], shown.stderr


async def test_a_dead_origin_is_seen_until_it_answers_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with OriginProcess() as origin:
        async with running_edge(tmp_path, origin.url) as (edge, client):
            assert await told(edge) == ("untried", "", "")
            assert "edgeproxy_origin_up{" not in edge.metrics.render()
            await client.ask("/page?cc=max-age=0")
            await edge.sequencer.flush()
            assert (await told(edge), up(edge, origin.url)) == (("up", "", ""), 1.0)
            origin.kill()
            died = edge.clock.now()
            # Visitors see the page as ever, and that is why somebody has to say it.
            assert (await client.ask("/page?cc=max-age=0")).status == 200
            state, why, shown = await told(edge)
            assert (state, why, up(edge, origin.url)) == ("down", "no connection to the origin", 0.0)
            assert shown.startswith(f"edgeproxy: origin {origin.url} of * is down since ")
            (health,) = (health for _, health in edge.handler.sites.sites[0].origin.health())
            assert health.since is not None
            assert health.since >= died
            assert f"origin {origin.url} is down: no connection to the origin" in caplog.messages
            origin.start()

            async def is_up() -> bool | None:
                await client.ask("/page?cc=max-age=0")
                return health.state.value == "up" or None

            await until(is_up)
            assert (await told(edge), up(edge, origin.url)) == (("up", "", ""), 1.0)
            assert (await client.ask("/other?status=500")).status == 500
            assert (await told(edge))[:2] == ("erring", "status 500")
