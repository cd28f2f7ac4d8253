"""The whole edge on loopback: one page through every way that an exchange can take."""

from pathlib import Path

from tests.support.edge import running_edge
from tests.support.site import running_site


async def test_a_fetched_page_is_a_hit_with_its_block_next_time(tmp_path: Path) -> None:
    async with running_site() as site, running_edge(tmp_path, site.url) as (_, client):
        first = await client.ask("/page?max-age=60")
        again = await client.recorded("/page?max-age=60")
    assert first.status == again.status == 200
    assert "fwd=uri-miss" in first["Cache-Status"]
    assert "hit" in again["Cache-Status"]
    assert again["Edge-Block"] == "1"
    assert again.body == first.body
    assert site.seen == ["/page?max-age=60"]
