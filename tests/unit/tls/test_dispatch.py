"""Which site a hello gets."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.tls.contexts import Contexts, SiteContext, TlsPolicy
from edgeproxy.tls.dispatch import Directory, Dispatch, Served
from edgeproxy.tls.openssl import find_openssl
from edgeproxy.tls.tickets import TicketKeys
from edgeproxy.wire.client_hello import Alert, ClientHello
from tests.support.certificates import certificate


def served(scope: str, **policy: Any) -> Served:
    return Served(certificate("a.test"), TlsPolicy(**policy), scope)


EXACT, WILD, DEEP, V4, V6, DEFAULT = (served(scope) for scope in ("exact", "wild", "deep", "v4", "v6", "default"))
ENTRIES = {
    "A.Test": EXACT,
    "*.a.test": WILD,
    "deep.b.a.test": DEEP,
    "new.a.test": None,
    "192.0.2.1": V4,
    "[2001:DB8::0:1]": V6,
}


@pytest.mark.parametrize(
    ("name", "local", "found"),
    [
        ("a.test", "192.0.2.1", EXACT),
        ("x.a.test", "192.0.2.1", WILD),
        ("x.y.a.test", "192.0.2.1", None),
        ("deep.b.a.test", "192.0.2.1", DEEP),
        ("new.a.test", "192.0.2.1", None),
        ("b.test", "192.0.2.1", None),
        ("test", "192.0.2.1", None),
        (None, "192.0.2.1", V4),
        (None, "::ffff:192.0.2.1", V4),
        (None, "2001:db8::1", V6),
        (None, "2001:0db8:0::1%eth0", V6),
        (None, "192.0.2.2", DEFAULT),
    ],
)
def test_exact_then_one_label_then_address_then_default(name: str | None, local: str, found: Served | None) -> None:
    assert Directory(ENTRIES, DEFAULT).find(name, local) is found


def test_a_name_never_gets_the_default() -> None:
    """A client that names another site must not see this one's certificate."""
    assert Directory({}, DEFAULT).find("b.test", "192.0.2.1") is None
    assert Directory({}, None).find(None, "192.0.2.1") is None


def test_replacing_replaces_all() -> None:
    directory = Directory(ENTRIES, DEFAULT)
    directory.replace({"b.test": EXACT})
    assert directory.find("a.test", "") is None
    assert directory.find(None, "192.0.2.1") is None
    assert directory.find("b.test", "") is EXACT


class Challenges:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def alpn_certificate(self, name: str) -> tuple[bytes, bytes] | None:
        self.asked.append(name)
        leaf = certificate("challenge.test")
        return (leaf.chain, leaf.key) if name == "challenge.test" else None


def dispatch(**options: Any) -> Dispatch:
    contexts = Contexts(TicketKeys.temporary(ManualClock()), find_openssl())
    return Dispatch(Directory(ENTRIES, DEFAULT), contexts, **options)


def hello(name: str | None, *alpn: bytes) -> ClientHello:
    return ClientHello(name, alpn, (0x0304,))


def choose(dispatcher: Dispatch, client: ClientHello) -> SiteContext | Alert:
    choice = dispatcher(client, "192.0.2.1", "203.0.113.9")
    assert not isinstance(choice, Awaitable)
    return choice


def test_a_context_or_an_alert() -> None:
    dispatcher = dispatch()
    context = choose(dispatcher, hello("a.test", b"h2"))
    assert isinstance(context, SiteContext)
    assert context.scope == "exact"
    assert choose(dispatcher, hello("b.test")) is Alert.UNRECOGNIZED_NAME


def test_no_protocol_in_common_is_an_alert() -> None:
    """RFC 7301 section 3.2."""
    assert choose(dispatch(), hello("a.test", b"ftp", b"spdy/3")) is Alert.NO_APPLICATION_PROTOCOL
    assert isinstance(choose(dispatch(), hello("a.test", b"ftp", b"http/1.0")), SiteContext)


def test_a_validation_gets_its_own_certificate_and_nothing_else() -> None:
    challenges = Challenges()
    dispatcher = dispatch(challenges=challenges)
    context = choose(dispatcher, hello("challenge.test", b"acme-tls/1"))
    assert isinstance(context, SiteContext)
    assert context.protocols == (b"acme-tls/1",)
    for name in ("a.test", None):
        assert choose(dispatcher, hello(name, b"acme-tls/1")) is Alert.NO_APPLICATION_PROTOCOL
    assert choose(dispatch(), hello("a.test", b"acme-tls/1")) is Alert.NO_APPLICATION_PROTOCOL
    assert challenges.asked == ["challenge.test", "a.test"]


def test_on_demand_is_asked_for_names_that_nobody_knows() -> None:
    asked: list[tuple[str, str]] = []

    async def on_demand(name: str, client: str) -> Served | None:
        asked.append((name, client))
        return EXACT if name == "good.test" else None

    async def choices() -> list[object]:
        dispatcher = dispatch(on_demand=on_demand)
        found: list[object] = []
        for name in ("good.test", "bad.test"):
            choice = dispatcher(hello(name), "192.0.2.1", "203.0.113.9")
            assert isinstance(choice, Awaitable)
            found.append(await choice)
        for name in ("a.test", "new.a.test", None):
            choice = dispatcher(hello(name), "192.0.2.1", "203.0.113.9")
            assert not isinstance(choice, Awaitable)
        return found

    good, bad = asyncio.run(choices())
    assert isinstance(good, SiteContext)
    assert bad is Alert.UNRECOGNIZED_NAME
    assert asked == [("good.test", "203.0.113.9"), ("bad.test", "203.0.113.9")]
