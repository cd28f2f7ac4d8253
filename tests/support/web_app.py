"""An aiohttp application that listens on 127.0.0.1 for the length of a block."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def listening(app: web.Application, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base URL of `app`; on a free port without `port`, over HTTPS with `tls`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
