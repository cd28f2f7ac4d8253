"""The TLS front door over real sockets: who is served under which certificate, and who is told what instead."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from edgeproxy.tls.contexts import TlsPolicy
from edgeproxy.tls.dispatch import Choice, Chooser, Dispatch
from edgeproxy.tls.front import FrontSettings, Outcome
from edgeproxy.wire.client_hello import Alert, ClientHello
from tests.support.certificates import authority, certificate
from tests.support.front import bio_client, client_context, fetch, front_door, hello_bytes, mutual, site
from tests.support.hellos import records
from tests.support.serving import PATIENCE, on_both_loops, on_uvloop, until

A = {"a.test": site("a.test")}


def alert(which: Alert) -> bytes:
    return which.record


# --- who is served ---


@on_both_loops
async def test_both_versions_are_served_and_the_handler_knows_whom() -> None:
    async with front_door(A) as door:
        new = await door.fetch("a.test")
        old = await door.fetch("a.test", context=client_context(maximum=ssl.TLSVersion.TLSv1_2))
        assert (new.version, new.status, new.body) == ("TLSv1.3", 200, b"GET /ready ")
        assert (old.version, old.cipher) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
        peer = door.handler.peers[0]
        assert (peer.address, peer.local, peer.tls) == ("127.0.0.1", ("127.0.0.1", door.port), True)
        assert (peer.server_name, peer.tls_scope) == ("a.test", "a.test")
        assert peer.log_prefix == b'"client":"127.0.0.1"'
        assert door.front.outcomes == {Outcome.DONE: 2}


@on_both_loops
async def test_names_in_any_case_and_wildcards_of_one_label() -> None:
    async with front_door({"a.test": site("a.test"), "*.w.test": site("*.w.test")}) as door:
        assert (await door.fetch("A.TEST")).status == 200
        assert (await door.fetch("X.W.test")).status == 200
        for name in ("x.y.w.test", "w.test", "b.test"):
            with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                await door.fetch(name)
        assert [handshake.server_name for handshake in door.handshakes] == ["a.test", "x.w.test"]


@on_both_loops
async def test_without_a_name_the_address_decides_and_then_the_default() -> None:
    six, default = site("::1", scope="six"), site("default.test", scope="default")
    async with front_door({"::1": six}, default=default, address="[::1]:0") as door:
        await door.fetch(None, address="::1")
        assert (door.handler.peers[0].tls_scope, door.handler.peers[0].server_name) == ("six", "")
    async with front_door({"::1": six, "127.0.0.1": site("127.0.0.1", scope="four")}, default=default) as door:
        await door.fetch(None)
        door.directory.replace({}, default)
        await door.fetch(None)
        assert [peer.tls_scope for peer in door.handler.peers] == ["four", "default"]
        door.directory.replace({})
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await door.fetch(None)


@on_uvloop
@pytest.mark.parametrize(
    ("policy", "offered", "agreed"),
    [
        (TlsPolicy(), ("http/1.1", "h2"), "h2"),
        (TlsPolicy(http2=False), ("h2", "http/1.1"), "http/1.1"),
        (TlsPolicy(), ("http/1.0",), "http/1.0"),
        (TlsPolicy(), (), None),
    ],
)
async def test_the_protocol_is_known_before_the_handshake(
    policy: TlsPolicy, offered: tuple[str, ...], agreed: str | None
) -> None:
    async with (
        front_door({"a.test": site("a.test", policy=policy)}) as door,
        bio_client(door.port, "a.test", client_context(alpn=offered)) as client,
    ):
        await client.do(client.secure.do_handshake)
        assert client.secure.selected_alpn_protocol() == agreed
        assert [handshake.alpn for handshake in door.handshakes] == [agreed or ""]


@on_both_loops
async def test_a_client_without_a_common_protocol_version_or_application_is_told() -> None:
    async with front_door({"a.test": site("a.test", policy=TlsPolicy(minimum="1.3"))}) as door:
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            await door.fetch("a.test", context=client_context(alpn=("ftp",)))
        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            await door.fetch("a.test", context=client_context(maximum=ssl.TLSVersion.TLSv1_2))
        await until(lambda: door.front.outcomes == {Outcome.NOT_SERVED: 1, Outcome.FAILED: 1})


@on_both_loops
async def test_a_new_certificate_is_served_at_once_and_open_connections_stay() -> None:
    renewed = authority().issue("a.test")
    async with front_door(A) as door, bio_client(door.port, "a.test") as client:
        await client.do(client.secure.do_handshake)
        before = (await door.fetch("a.test")).serial
        door.directory.replace({"a.test": site("a.test", served=renewed)})
        assert (await door.fetch("a.test")).serial == renewed.serial != before
        assert b"200" in await client.get()


@on_uvloop
async def test_everything_works_without_the_inside_of_openssl() -> None:
    async with front_door({**A, "m.test": site("m.test", policy=mutual())}, native=False) as door:
        seen = await door.fetch("a.test")
        assert seen.status == 200
        with pytest.raises(ssl.SSLError):
            await door.fetch("m.test")


@on_both_loops
async def test_a_validation_sees_its_certificate_and_the_end() -> None:
    leaf = certificate("challenge.test")

    class Challenges:
        def alpn_certificate(self, name: str) -> tuple[bytes, bytes] | None:
            return (leaf.chain, leaf.key) if name == "challenge.test" else None

    async with front_door(A, challenges=Challenges()) as door:
        context = client_context(alpn=("acme-tls/1",))
        async with bio_client(door.port, "challenge.test", context) as client:
            await client.do(client.secure.do_handshake)
            assert client.secure.selected_alpn_protocol() == "acme-tls/1"
            presented = client.secure.getpeercert() or {}
            assert int(str(presented["serialNumber"]), 16) == leaf.serial
            assert await client.do(lambda: client.secure.read(10)) == b""
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            await door.fetch("a.test", context=client_context(alpn=("acme-tls/1",)))
        assert door.front.outcomes == {Outcome.CHALLENGE: 1, Outcome.NOT_SERVED: 1}
        assert door.handshakes == []


# --- client certificates ---


@on_both_loops
@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_certificates(maximum: ssl.TLSVersion) -> None:
    own = authority().issue("client.test", client=True)
    other = authority("another CA").issue("client.test", client=True)
    sites = {"m.test": site("m.test", policy=mutual()), "o.test": site("o.test", policy=mutual(required=False))}
    async with front_door(sites) as door:
        assert (await door.fetch("m.test", context=client_context(maximum=maximum, own=own))).status == 200
        assert (await door.fetch("o.test", context=client_context(maximum=maximum))).status == 200
        with pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"):
            await door.fetch("m.test", context=client_context(maximum=maximum))
        for name in ("m.test", "o.test"):
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await door.fetch(name, context=client_context(maximum=maximum, own=other))


# --- last words ---


@on_both_loops
async def test_an_unknown_name_gets_a_correct_alert_and_no_reset() -> None:
    async with front_door(A) as door:
        for _ in range(20):
            assert await door.said(hello_bytes("b.test") + b"early data" * 100) == alert(Alert.UNRECOGNIZED_NAME)
        assert door.front.outcomes == {Outcome.NOT_SERVED: 20}
        await until(lambda: len(door.front._farewells) == 0)


@on_both_loops
async def test_plain_http_is_told_where_it_is() -> None:
    async with front_door(A) as door:
        for asked in (b"GET / HTTP/1.1\r\n\r\n", b"POST /x HTTP/1.1\r\n" + b"x" * 30_000, b"PRI * HTTP/2.0\r\n\r\n"):
            said = await door.said(asked)
            head, _, body = said.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ")
            assert f"content-length: {len(body)}".encode() in head.lower()
            assert b"HTTPS" in body
        assert door.front.outcomes == {Outcome.PLAIN_HTTP: 3}


@on_both_loops
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x80\x2e\x01\0\x02", b""),
        (b"SSH-2.0-x\r\n", b""),
        (b"\x16\x04", alert(Alert.PROTOCOL_VERSION)),
        (b"\x16\x03\x01\x40\x01", alert(Alert.RECORD_OVERFLOW)),
        (b"\x16\x03\x01\0\x04\x02\0\0\0", alert(Alert.UNEXPECTED_MESSAGE)),
    ],
)
async def test_what_is_no_hello(said: bytes, answer: bytes) -> None:
    async with front_door(A) as door:
        try:
            assert await door.said(said) == answer
        except ConnectionError:
            assert answer == b""  # no words are lost by a reset where there are none


# --- hellos in pieces ---


@on_both_loops
async def test_a_hello_byte_by_byte() -> None:
    async with front_door(A) as door, bio_client(door.port, "a.test", client_context(alpn=("http/1.1",))) as client:
        for byte in client.first_flight():
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await client.do(client.secure.do_handshake)
        assert b"200" in await client.get()


@on_both_loops
async def test_a_hello_in_many_records_each_in_its_own_time() -> None:
    async with front_door(A) as door, bio_client(door.port, "a.test") as client:
        flight = client.first_flight()
        for piece in records(flight[5:], (1, 1, 2, 5, 20, 60, 1, 100)).split(b"\x16\x03\x01"):
            client.writer.write(b"\x16\x03\x01" + piece if piece else b"")
            await client.writer.drain()
            await asyncio.sleep(0.005)
        await client.do(client.secure.do_handshake)
        assert b"200" in await client.get()


@on_both_loops
async def test_a_large_hello_in_small_pieces_and_one_that_is_too_large() -> None:
    async with front_door(A) as door:
        many = tuple(f"protocol-{number:03}" + "x" * 180 for number in range(60))
        async with bio_client(door.port, "a.test", client_context(alpn=(*many, "http/1.1"))) as client:
            flight = client.first_flight()
            assert len(flight) > 11_000
            for at in range(0, len(flight), 97):
                client.writer.write(flight[at : at + 97])
                await asyncio.sleep(0)
            await client.do(client.secure.do_handshake)
            assert client.secure.selected_alpn_protocol() == "http/1.1"
        too_many = tuple(f"protocol-{number:03}" + "x" * 180 for number in range(90))
        assert await door.said(hello_bytes("a.test", alpn=too_many)) == alert(Alert.ILLEGAL_PARAMETER)


@on_both_loops
async def test_a_client_that_ends_in_its_hello_is_closed_at_once() -> None:
    settings = FrontSettings(hellos=replace(FrontSettings().hellos, deadline=3600))
    async with front_door(A, settings=settings) as door:
        for part in (b"", b"\x16", hello_bytes("a.test")[:-1]):
            assert await door.said(part, end=True) == b""
        assert door.front.outcomes == {Outcome.ENDED: 3}


# --- choosing takes time ---


def held(gate: asyncio.Event, asked: list[str]) -> "object":
    """Choosers that wait for `gate` before a name that begins with "slow"."""

    def make(dispatcher: Dispatch) -> Chooser:
        async def slowly(hello: ClientHello, local: str, client: str) -> Choice:
            asked.append(hello.server_name or "")
            await gate.wait()
            choice = dispatcher(replace(hello, server_name="a.test"), local, client)
            assert not asyncio.iscoroutine(choice)
            return choice  # type: ignore[return-value]

        def choose(hello: ClientHello, local: str, client: str) -> object:
            if (hello.server_name or "").startswith("slow"):
                return slowly(hello, local, client)
            return dispatcher(hello, local, client)

        return choose  # type: ignore[return-value]

    return make


@on_both_loops
async def test_a_handshake_can_be_held_while_others_are_served() -> None:
    gate, asked = asyncio.Event(), list[str]()
    async with front_door(A, choose=held(gate, asked)) as door:  # type: ignore[arg-type]
        waiting = [asyncio.get_running_loop().create_task(door.fetch("slow.test", check_name=False)) for _ in range(3)]
        await until(lambda: door.front.counts() == {"choosing": 3})
        assert (await door.fetch("a.test")).status == 200
        gate.set()
        for task in waiting:
            assert (await task).serial == certificate("a.test").serial


@on_both_loops
async def test_choosing_is_bounded_in_number_and_time() -> None:
    bounds = replace(FrontSettings().choosing, deadline=0.05, per_client=2)
    asked: list[str] = []
    async with front_door(A, choose=held(asyncio.Event(), asked), settings=FrontSettings(choosing=bounds)) as door:  # type: ignore[arg-type]
        said = await asyncio.gather(*(door.said(hello_bytes("slow.test")) for _ in range(3)))
        assert said == [alert(Alert.INTERNAL_ERROR)] * 3
        assert len(asked) == 2
        assert door.front.outcomes == {Outcome.CROWDED: 1, Outcome.NOT_CHOSEN: 2}


@on_both_loops
async def test_a_chooser_that_fails_ends_one_handshake_only(caplog: pytest.LogCaptureFixture) -> None:
    def make(dispatcher: Dispatch) -> Chooser:
        async def fail() -> Choice:
            raise ValueError("later")

        def choose(hello: ClientHello, local: str, client: str) -> object:
            if hello.server_name == "later.test":
                return fail()
            if hello.server_name == "now.test":
                raise ValueError("now")
            return dispatcher(hello, local, client)

        return choose  # type: ignore[return-value]

    async with front_door(A, choose=make) as door:
        for name in ("now.test", "later.test"):
            assert await door.said(hello_bytes(name)) == alert(Alert.INTERNAL_ERROR)
        assert (await door.fetch("a.test")).status == 200
        assert caplog.text.count("no certificate could be chosen") == 2
        caplog.clear()


@on_uvloop
async def test_an_unusable_certificate_is_an_alert(caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(certificate("a.test"), key=certificate("b.test").key)
    async with front_door({"a.test": site("a.test", served=broken)}) as door:
        assert await door.said(hello_bytes("a.test")) == alert(Alert.INTERNAL_ERROR)
        assert "certificate and key cannot be used" in caplog.text


# --- the end ---


@on_both_loops
async def test_drain_ends_who_has_not_begun_and_waits_for_handshakes() -> None:
    async with (
        front_door(A) as door,
        bio_client(door.port, "a.test") as begun,
        bio_client(door.port, "a.test") as asked,
        bio_client(door.port, "a.test") as silent,
    ):
        await begun.do(begun.secure.do_handshake)
        asked.writer.write(asked.first_flight())
        silent.writer.write(silent.first_flight()[:20])
        await until(lambda: door.front.counts() == {"idle": 1, "handshake": 1, "hello": 1})
        draining = asyncio.get_running_loop().create_task(door.front.drain(PATIENCE))
        assert await asyncio.wait_for(silent.reader.read(), PATIENCE) == b""
        assert await begun.do(lambda: begun.secure.read(1)) == b""
        begun.writer.close()  # TLS waits for the other side's end
        await asked.do(asked.secure.do_handshake)
        answer = await asked.get()
        assert b"connection: close" in answer.lower()
        asked.writer.close()
        assert await draining == 0
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(fetch, asked.writer.get_extra_info("peername")[1], "a.test")


@on_both_loops
async def test_close_breaks_everything_at_any_stage() -> None:
    gate = asyncio.Event()
    async with (
        front_door(A, choose=held(gate, [])) as door,  # type: ignore[arg-type]
        bio_client(door.port, "a.test") as served,
        bio_client(door.port, "a.test") as shaking,
        bio_client(door.port, "slow.test") as choosing,
        bio_client(door.port, "a.test") as silent,
    ):
        await served.do(served.secure.do_handshake)
        shaking.writer.write(shaking.first_flight())
        choosing.writer.write(choosing.first_flight())
        silent.writer.write(b"\x16")
        await until(lambda: door.front.counts() == {"idle": 1, "handshake": 1, "hello": 1, "choosing": 1})
        assert await door.front.drain(0.05) == 3  # the silent one ended before anything was broken
        for client in (served, shaking, choosing, silent):
            try:
                while await asyncio.wait_for(client.reader.read(65536), PATIENCE):
                    pass
            except ConnectionError:
                continue  # broken is broken
        assert door.front.counts() == {}


@on_both_loops
async def test_addresses_change_without_touching_connections() -> None:
    async with front_door(A) as door, bio_client(door.port, "a.test") as client:
        await client.do(client.secure.do_handshake)
        before = door.front.addresses
        await door.front.add("[::1]:0")
        assert len(door.front.addresses) == 2
        port = int(door.front.addresses[1].rpartition(":")[2])
        assert (await asyncio.to_thread(fetch, port, "a.test", address="::1")).status == 200
        await door.front.replace(["[::1]:0"])
        assert before[0] not in door.front.addresses
        assert b"200" in await client.get()


@on_both_loops
async def test_whatever_is_cancelled_its_connection_ends_and_nothing_is_left() -> None:
    """A choice that waits, a handshake that has begun, one that has just been planned: as when the process stops in a hurry."""
    async with front_door(A, choose=held(asyncio.Event(), [])) as door:  # type: ignore[arg-type]
        for name, room in (("slow.test", "choosing"), ("a.test", "handshake")):
            async with bio_client(door.port, name) as client:
                client.writer.write(client.first_flight())
                await until(lambda: door.front.counts() == {room: 1})  # noqa: B023 - awaited in this turn
                [task] = door.front._tasks.values()
                task.cancel()
                await until(lambda: door.front.counts() == {})
                try:
                    while await asyncio.wait_for(client.reader.read(65536), PATIENCE):
                        pass
                except ConnectionError:
                    continue
        assert (await door.fetch("a.test")).status == 200
