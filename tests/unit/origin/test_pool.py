"""The seams of aiohttp that `origin.pool` and `origin.connection` are built on: a release that moves one must fail here.

Which one it moved is in the name of the test."""

import inspect

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import BaseConnector

from edgeproxy.errors import OriginConnectTimeout, OriginRefused, OriginReset, OriginUnresolved, OriginUntrusted
from edgeproxy.origin.connection import OriginConnection
from edgeproxy.origin.messages import Origin, OriginSettings
from edgeproxy.origin.pool import OriginPool, PooledRequest, mapped


def test_the_steps_that_add_to_a_request_are_those_that_are_left_out() -> None:
    """A step with a new name would add fields that nobody asked for."""
    steps = {name for name in vars(ClientRequest) if name.startswith("update_")}
    handled = {name for name in vars(PooledRequest) if name.startswith("update_")}
    harmless = {"update_version", "update_host", "update_proxy", "update_body"}
    assert steps - handled == harmless


def test_a_response_is_judged_and_timed_by_us_alone() -> None:
    overridden = set(vars(OriginConnection))
    assert {
        "is_connected",
        "should_close",
        "close",
        "set_response_params",
        "data_received",
        "eof_received",
        "connection_lost",
    } <= overridden
    for name in ("is_connected", "should_close", "close", "abort", "set_response_params", "data_received"):
        assert hasattr(ResponseHandler, name), name
    assert not inspect.iscoroutinefunction(ResponseHandler.close)
    assert inspect.iscoroutinefunction(ClientResponse.start)
    assert inspect.iscoroutinefunction(ClientRequest.send)


async def test_the_pool_asks_our_protocol_class_before_each_reuse() -> None:
    assert "is_connected()" in inspect.getsource(BaseConnector._get)
    assert "should_close" in inspect.getsource(BaseConnector._release)
    pool = OriginPool(Origin("http://origin.example"), OriginSettings())
    try:
        protocol = pool._connector._factory()
        assert isinstance(protocol, OriginConnection)
        assert not protocol.is_connected()
        assert pool._session._retry_connection is False
        assert isinstance(pool._connector._conns, dict)
    finally:
        await pool.close()


def _connector_error(kind: type[aiohttp.ClientConnectorError]) -> aiohttp.ClientConnectorError:
    return kind(None, OSError(111, "refused"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_connector_error(aiohttp.ClientConnectorError), OriginRefused),
        (_connector_error(aiohttp.ClientConnectorDNSError), OriginUnresolved),
        (_connector_error(aiohttp.ClientConnectorSSLError), OriginUntrusted),
        (aiohttp.ClientConnectorCertificateError(None, ValueError("x")), OriginUntrusted),  # type: ignore[arg-type]
        (aiohttp.ConnectionTimeoutError("x"), OriginConnectTimeout),
        (TimeoutError(), OriginConnectTimeout),
        (aiohttp.ServerDisconnectedError(), OriginReset),
        (aiohttp.ClientOSError(104, "reset"), OriginReset),
        (UnicodeError("label too long"), OriginUnresolved),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_what_aiohttp_raises_in_our_words(error: Exception, expected: type[Exception]) -> None:
    assert type(mapped(error, Origin("http://origin.example"))) is expected
