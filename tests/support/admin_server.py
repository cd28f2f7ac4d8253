"""A running admin server before a stand-in edge, and how to ask it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.backend import AdminBackend
from edgeproxy.admin.client import AdminClient
from edgeproxy.admin.presence import Running
from tests.support.admin_backend import StandInBackend

TOKEN = "t" * 43


class Admin:
    """A running admin server, and how to ask it."""

    def __init__(self, backend: StandInBackend, address: tuple[str, int], session: aiohttp.ClientSession) -> None:
        self.backend = backend
        self.address = address
        self._session = session

    async def ask(
        self, path: str, *, method: str = "GET", token: str | None = TOKEN, host: str | None = None, **more: object
    ) -> tuple[int, object, aiohttp.ClientResponse]:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        fields |= {} if host is None else {"Host": host}
        url = f"http://{self.address[0]}:{self.address[1]}{path}"
        async with self._session.request(method, url, headers={**fields, **more.pop("headers", {})}, **more) as answer:  # type: ignore[dict-item, arg-type]
            content = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, content, answer

    def client(self, token: str = TOKEN) -> AdminClient:
        return AdminClient(Running(f"{self.address[0]}:{self.address[1]}", os.getpid()), token, timeout=5.0)


@asynccontextmanager
async def running_admin() -> AsyncIterator[Admin]:
    backend = StandInBackend()
    _: AdminBackend = backend
    server = AdminServer(backend, TOKEN, ("127.0.0.1", 0), node="edge-1", hosts=frozenset({"edge.internal"}))
    address = await server.start()
    async with aiohttp.ClientSession() as session:
        yield Admin(backend, address, session)
    await server.stop()
    await server.stop()
