"""uvloop's own TLS server, `create_server(ssl=)`, with one ready answer: what a handshake costs here at the least.

No HTTP, no cache, no care for slow clients. `benchmarks.handshake` compares the front door with it, `benchmarks.load` whole
servers, which start it as `python -m benchmarks.plain_tls PORT CHAIN_AND_KEY`.
"""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.origin import answer
from edgeproxy.tls.contexts import CIPHERS, GROUPS
from edgeproxy.tls.openssl import find_openssl

ANSWER = answer(100, "max-age=3600")
GOAL = 1.15
"""What a full handshake may cost, as a multiple of the plain one's (also of the whole edge's, in `benchmarks.load`)."""


class Answering(asyncio.Protocol):
    """One answer to whatever is asked, then the end: the same for both servers, so that only the way in differs."""

    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        type(self).served += 1
        self.transport.write(ANSWER)
        self.transport.close()


async def start_plain(chain_and_key: Path, port: int = 0) -> asyncio.Server:
    """The event loop's own TLS server, with the ciphers, groups and protocols of ours; port 0: any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["h2", "http/1.1"])
    openssl = find_openssl()
    if openssl is not None:
        openssl.set_groups(context, GROUPS)
    context.load_cert_chain(chain_and_key)
    return await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port, ssl=context, backlog=1024)


async def _serve(port: int, chain_and_key: Path) -> None:
    async with await start_plain(chain_and_key, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
