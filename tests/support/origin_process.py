"""The site of `tests.support.site` as a process of its own, so that it can be killed with SIGKILL and come back on its port."""

import asyncio
import sys

from aiohttp import web

from tests.support.processes import SiteProcess
from tests.support.site import Site
from tests.support.web_app import listening


class OriginProcess(SiteProcess):
    """`start` takes the version of all its pages, "1" without."""

    module = "tests.support.origin_process"


async def serve(port: int, version: str = "1") -> None:
    """The site on `port` (0: any free one), which is told on stdout; until the process is killed."""
    site = Site(version=version)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    async with listening(app, port=port) as url:
        print(url.rpartition(":")[2], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *sys.argv[2:]))
