"""Orders to roll back, and what the pages of a site show."""

import asyncio
import contextlib
import io
import json
from typing import Any

from edgeproxy import cli
from tests.support.edge import EdgeProcess, until
from tests.support.scripted import Fronted, page


async def run(it: Fronted | EdgeProcess, *arguments: str, status: int = 0) -> dict[str, Any]:
    """One command with --json, in this process, against the running edge; with another `status`, what it complained of."""
    data = it.data if isinstance(it, EdgeProcess) else it.edge.config.edge.data
    out, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
        ended = await asyncio.to_thread(cli.run, [*arguments, "--data", str(data), "--json"])
    assert ended == status, (out.getvalue(), complaints.getvalue())
    found: dict[str, Any] = json.loads(out.getvalue()) if status == 0 else {"said": complaints.getvalue()}
    return found


SITE = {
    "/a": page("old a", Cache_Control="max-age=600", ETag='"1"', Last_Modified="Mon, 24 Nov 2025 16:00:00 GMT"),
    "/b": page("old b", Cache_Control="private", ETag='"1"'),
    "/blog/c": page("old c", Cache_Control="max-age=600, must-revalidate"),
}


async def replaced(it: Fronted, path: str, new: str, **fields: str) -> None:
    """Have the origin say something new, and the edge store it."""
    it.origin.ways[path] = page(new, **fields)
    await run(it, "purge", f"{it.client.base}{path}", "--hard")

    async def stored() -> bool | None:
        answer = await it.client.ask(path)
        return True if answer.body == new.encode() and "Edge-Block" in answer.headers else None  # type: ignore[operator]

    await until(stored)
