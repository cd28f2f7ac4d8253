"""The libssl behind `ssl`: found, proved, or left alone."""

import ctypes
import ssl

import pytest

from edgeproxy.errors import ContextRefused
from edgeproxy.tls import openssl
from edgeproxy.tls.openssl import TICKET_KEY_BYTES, OpenSsl, find_openssl


@pytest.fixture
def found() -> OpenSsl:
    library = find_openssl()
    assert library is not None
    return library


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_it_is_found_here_and_is_the_one_that_ssl_uses(found: OpenSsl) -> None:
    assert "libssl" in openssl._library_at(found.address)[0].path or "python" in openssl._library_at(found.address)[0].path
    assert found.ticket_key_length(context()) == TICKET_KEY_BYTES


def test_the_switch() -> None:
    assert find_openssl(wanted=False) is None


def test_groups_and_keys(found: OpenSsl) -> None:
    one = context()
    found.set_groups(one, "X25519:P-256:P-384")
    found.set_ticket_keys(one, bytes(TICKET_KEY_BYTES))
    found.forget_sessions(one)
    with pytest.raises(ContextRefused, match="groups"):
        found.set_groups(one, "no-such-group")
    with pytest.raises(ContextRefused, match="ticket keys"):
        found.set_ticket_keys(one, b"short")


def test_a_pointer_to_something_else_is_noticed_before_it_is_used(
    found: OpenSsl, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = ctypes.create_string_buffer(4096)
    monkeypatch.setattr(openssl, "_pointer", lambda context: ctypes.addressof(other))
    assert find_openssl() is None
    assert "is not an SSL_CTX" in caplog.text


@pytest.mark.parametrize("wild", [8, 0, 0x7FFF_FFFF_0000])
def test_a_wild_pointer_is_an_error_and_no_crash(
    wild: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openssl, "_pointer", lambda context: wild)
    assert find_openssl() is None
    assert "own defaults" in caplog.text


def test_another_length_of_ticket_keys(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(OpenSsl, "ticket_key_length", lambda self, context: 48)
    assert find_openssl() is None
    assert "another length" in caplog.text


def test_another_interpreter(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(openssl.sys.implementation, "name", "pypy")
    assert find_openssl() is None
    assert "not CPython" in caplog.text


def test_a_library_without_the_symbol(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Bare:
        def __init__(self, name: str) -> None:
            pass

    monkeypatch.setattr(openssl.ctypes, "CDLL", Bare)
    assert find_openssl() is None
    assert "SSL_CTX_ctrl" in caplog.text
