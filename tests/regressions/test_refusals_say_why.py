"""A request with only-if-cached that nothing stored can answer was refused without Cache-Status (RFC 9211 section 2)."""

from pathlib import Path

from tests.support.scripted import fronted, page


async def test_the_refusal_of_only_if_cached_says_why(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": page("hello")}) as it:
        answer = await it.client.ask("/page", headers={"Cache-Control": "only-if-cached"})
        assert it.origin.count("/page") == 0
    assert answer.status == 504
    assert answer["Cache-Status"] == "edgeproxy;detail=only-if-cached"
