"""Addresses as an operator writes them, and errors as an operator reads them."""

import errno
import socket

import pytest

from edgeproxy.errors import StartError
from edgeproxy.serving.addresses import Address, bind, map_bind_error, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:443", Address("::1", 443)),
        ("[fe80::1%eth0]:443", Address("fe80::1%eth0", 443)),
        ("localhost:0", Address("localhost", 0)),
        (":8080", Address("", 8080)),
        ("unix:/run/edge.sock", Address(path="/run/edge.sock")),
    ],
)
def test_parsed_and_written_the_same(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "80", "127.0.0.1", "::1:80", "[::1]", "a:b", "a:65536", "a:-1", "unix:edge.sock", "unix:", "a/b:1"]
)
def test_refused(text: str) -> None:
    with pytest.raises(StartError) as raised:
        parse_address(text)
    assert raised.value.fields["address"] == text
    assert raised.value.fields["hint"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EADDRINUSE, "x"), "address in use"),
        (OSError(errno.EACCES, "x"), "permission denied"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "not an address of this machine"),
        (OSError(errno.EIO, "input/output error"), "input/output error"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "host name not known"),
    ],
)
def test_errors_are_said_in_words(error: OSError, reason: str) -> None:
    mapped = map_bind_error("a:1", error)
    assert (mapped.text, mapped.fields["address"], mapped.fields["reason"]) == ("cannot listen", "a:1", reason)


def test_an_empty_host_is_every_address_of_both_families() -> None:
    bound = bind(parse_address(":0"))
    try:
        assert {one.family for one in bound} <= {socket.AF_INET, socket.AF_INET6}
        assert socket.AF_INET in {one.family for one in bound}
    finally:
        for one in bound:
            one.close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(StartError, match="not an address of this machine"):
        bind(parse_address("192.0.2.1:0"))
