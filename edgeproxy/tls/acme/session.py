"""One authority, asked from the event loop: its directory, its account, and a thread of its own for the requests.

Owns: that nothing blocks the loop, that requests of one authority go one after the other, and how long a directory is believed.
A caller that is cancelled stops waiting; the request that is going on ends in its thread, and its answer is dropped.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from josepy.jwk import JWK

from edgeproxy.clock import Clock
from edgeproxy.tls.acme.account import Account
from edgeproxy.tls.acme.network import Network, Reply
from edgeproxy.tls.acme.problems import own_failure
from edgeproxy.tls.acme.resources import AcmeDirectory, read_directory

P = ParamSpec("P")
T = TypeVar("T")

_DIRECTORY_BELIEVED = 3_600.0
_CLOSING = 2.0


class Session:
    """Requests to one authority in the name of one account."""

    def __init__(self, url: str, network: Network, account: Account, clock: Clock) -> None:
        self._url = url
        self._network = network
        self._account = account
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="acme")
        self._directory: AcmeDirectory | None = None
        self._believed_until = 0.0
        self._closed = False

    async def directory(self) -> AcmeDirectory:
        """What the authority offers now, not older than an hour."""
        if self._directory is None or self._clock.monotonic() >= self._believed_until:
            reply = await self.get(self._url)
            self._directory = read_directory(reply.json())
            self._believed_until = self._clock.monotonic() + _DIRECTORY_BELIEVED
        return self._directory

    def forget_directory(self) -> None:
        """Something failed: the next attempt looks whether the authority has moved."""
        self._directory = None

    async def get(self, url: str) -> Reply:
        """An unsigned GET; raises IssuanceFailed."""
        return await self._run(self._network.get, url)

    async def post(self, url: str, payload: bytes = b"") -> Reply:
        """A request in the name of the account, which is registered first if need be; without a payload a POST-as-GET.

        Raises IssuanceFailed.
        """
        directory = await self.directory()
        return await self._run(self._signed, directory, url, payload)

    async def account_key(self) -> JWK:
        """The account's key, for key authorizations; registers the account if need be."""
        directory = await self.directory()
        return (await self._run(self._account.signer, self._network, directory)).key

    async def forget_account(self) -> None:
        """The authority says that there is no such account: register again before the next request."""
        await self._run(self._account.forget)

    async def close(self) -> None:
        """Break what is going on, and let the thread end; whoever waits gets IssuanceFailed "closed"."""
        if self._closed:
            return
        self._closed = True
        self._network.cut()
        closing = self._executor.submit(self._network.close)
        self._executor.shutdown(wait=False)
        # A thread amid a name look-up or a connect cannot be broken: both are bounded, and nobody waits for them here.
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(closing), _CLOSING)

    def _signed(self, directory: AcmeDirectory, url: str, payload: bytes) -> Reply:
        # In one piece, so that a registration is always written down, whether or not anybody waits for it any more.
        signer = self._account.signer(self._network, directory)
        return self._network.post(url, payload, signer, directory.new_nonce)

    async def _run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        if self._closed:
            raise own_failure("closed", "the client is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*arguments, **options))
