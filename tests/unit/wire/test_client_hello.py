"""ClientHellos: what is read, what is waited for, what is refused and in which words."""

import ssl
from itertools import product
from pathlib import Path

import pytest

from edgeproxy.errors import Fault, HelloRefused
from edgeproxy.wire.client_hello import (
    HELLO_BYTES,
    MOST_RECORDS,
    PEEK_BYTES,
    Alert,
    ClientHello,
    NeedMore,
    parse_client_hello,
)
from tests.support.hellos import H2_AND_H1, extension, hello, message, ordinary, record, records, server_name, versions

CAPTURED = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "hellos").glob("*.bin")}
OPENSSL_VERSIONS = (0x0304, 0x0303, 0x0302, 0x0301)
READ = {
    "chromium": ClientHello("chromium.example.com", (b"h2", b"http/1.1"), (0x8A8A, 0x0304, 0x0303)),
    "curl": ClientHello("curl.example.com", (b"h2", b"http/1.1"), OPENSSL_VERSIONS),
    "openssl-no-name": ClientHello(None, (), OPENSSL_VERSIONS),
    "openssl-tls12": ClientHello("www.example.com", (), (0x0303,)),
    "openssl-tls13": ClientHello("www.example.com", (b"h2", b"http/1.1"), OPENSSL_VERSIONS),
}


def refusal(data: bytes) -> HelloRefused:
    with pytest.raises(HelloRefused) as raised:
        parse_client_hello(data)
    return raised.value


def read(data: bytes) -> ClientHello:
    found = parse_client_hello(data)
    assert isinstance(found, ClientHello)
    return found


def bio_hello(name: str | None, alpn: list[str]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# --- what real clients send ---


@pytest.mark.parametrize("client", sorted(READ))
def test_captured_hellos(client: str) -> None:
    assert read(CAPTURED[client]) == READ[client]
    assert set(CAPTURED) == set(READ)


def test_a_hello_of_this_python() -> None:
    found = read(bio_hello("www.Example.test", ["h2", "http/1.1"]))
    assert found.server_name == "www.example.test"
    assert found.alpn == (b"h2", b"http/1.1")
    assert 0x0304 in found.versions
    assert read(bio_hello(None, [])).server_name is None
    assert read(bio_hello("127.0.0.1", [])).server_name is None  # OpenSSL names no address


@pytest.mark.parametrize("client", sorted(READ))
def test_what_is_missing_is_said_exactly_enough(client: str) -> None:
    """At every split: more is wanted, never more than there is, and never so little that the same is asked again at once."""
    whole = CAPTURED[client]
    for have in range(len(whole)):
        found = parse_client_hello(whole[:have])
        assert isinstance(found, NeedMore)
        assert 0 < found.count <= len(whole) - have
        again = parse_client_hello(whole[: have + found.count])
        assert isinstance(again, ClientHello) or have + found.count < len(whole)
    assert read(whole + b"\x14\x03\x03\0\x01\x01") == READ[client]
    assert parse_client_hello(b"") == NeedMore(1)


@pytest.mark.parametrize("client", sorted(READ))
def test_looks_are_few_however_it_trickles(client: str) -> None:
    whole, have, looks = CAPTURED[client], 0, 0
    while isinstance(found := parse_client_hello(whole[:have]), NeedMore):
        have += found.count
        looks += 1
    assert looks <= 4
    assert have == len(whole)


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1, 1, 1), (3,), (4,), (5, 60), (100, 1, 100), (1,) * 40])
def test_cut_into_records(sizes: tuple[int, ...]) -> None:
    """RFC 8446 section 5.1: a message may be cut anywhere."""
    cut = records(ordinary(), sizes)
    expected = read(record(ordinary()))
    assert read(cut) == expected
    for have in range(len(cut)):
        found = parse_client_hello(cut[:have])
        assert isinstance(found, NeedMore)
        assert 0 < found.count <= len(cut) - have


def test_every_single_changed_byte_is_read_or_refused() -> None:
    for whole in (record(ordinary()), CAPTURED["openssl-tls13"]):
        for at, value in product(range(len(whole)), (0, 1, 0x7F, 0xFF)):
            changed = bytearray(whole)
            changed[at] ^= value or 0x20
            try:
                found = parse_client_hello(bytes(changed))
            except HelloRefused:
                continue
            assert isinstance(found, ClientHello | NeedMore)


# --- what is not TLS ---


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"G", b"SSH-2.0-x\r\n", b"\0", b"\x80\x2e\x01", b"\x15\x03\x01\0\x02\1"])
def test_what_is_no_handshake_gets_no_alert(data: bytes) -> None:
    error = refusal(data)
    assert error.alert is None
    assert error.fault is Fault.CLIENT


# --- what is refused ---

NAME = extension(0, server_name(b"a.test"))
VECTORS: list[tuple[str, bytes, Alert]] = [
    ("record version of another protocol", b"\x16\x04", Alert.PROTOCOL_VERSION),
    ("record of 2^14 + 1 bytes", b"\x16\x03\x01\x40\x01", Alert.RECORD_OVERFLOW),
    ("empty record", b"\x16\x03\x01\0\0", Alert.UNEXPECTED_MESSAGE),
    ("other message first", record(message(b"", kind=2)), Alert.UNEXPECTED_MESSAGE),
    ("other message first, its type alone", b"\x16\x03\x01\0\x05\x02\0\0\0", Alert.UNEXPECTED_MESSAGE),
    ("alert inside the hello", record(ordinary()[:20]) + record(b"\x01\0", kind=21), Alert.UNEXPECTED_MESSAGE),
    ("too long", record(b"\x01" + (HELLO_BYTES + 1).to_bytes(3)), Alert.ILLEGAL_PARAMETER),
    ("cut too small", records(ordinary(), (1,) * 70), Alert.ILLEGAL_PARAMETER),
    ("empty", record(message(b"")), Alert.DECODE_ERROR),
    ("version only", record(message(b"\3\3")), Alert.DECODE_ERROR),
    ("cut in the random", record(message(b"\3\3" + bytes(20))), Alert.DECODE_ERROR),
    ("session id of 33 bytes", record(hello(session_id=bytes(33))), Alert.DECODE_ERROR),
    ("session id behind the end", record(message(b"\3\3" + bytes(32) + b"\x20\0")), Alert.DECODE_ERROR),
    ("no cipher suites", record(hello(suites=b"")), Alert.DECODE_ERROR),
    ("odd cipher suites", record(hello(suites=b"\x13\x01\x13")), Alert.DECODE_ERROR),
    ("cipher suites behind the end", record(message(b"\3\3" + bytes(32) + b"\0\xff\xfe\0")), Alert.DECODE_ERROR),
    ("no compression methods", record(hello(compressions=b"")), Alert.DECODE_ERROR),
    ("compression behind the end", record(message(b"\3\3" + bytes(32) + b"\0\0\x02\x13\x01\xff")), Alert.DECODE_ERROR),
    ("half an extension length", record(message(hello(with_extensions=False)[4:] + b"\0")), Alert.DECODE_ERROR),
    ("bytes behind the extensions", record(message(hello(NAME)[4:] + b"\0")), Alert.DECODE_ERROR),
    ("extensions behind the end", record(message(hello(with_extensions=False)[4:] + b"\0\5\0")), Alert.DECODE_ERROR),
    ("half an extension header", record(hello(b"\0\0\0")), Alert.DECODE_ERROR),
    ("extension behind the end", record(hello(b"\0\0\0\x09\0")), Alert.DECODE_ERROR),
    ("server name twice", record(hello(NAME, NAME)), Alert.ILLEGAL_PARAMETER),
    ("unknown extension twice", record(hello(extension(77, b""), extension(77, b"x"))), Alert.ILLEGAL_PARAMETER),
    ("empty server name extension", record(hello(extension(0, b""))), Alert.DECODE_ERROR),
    ("empty list of server names", record(hello(extension(0, b"\0\0"))), Alert.DECODE_ERROR),
    ("empty server name", record(hello(extension(0, server_name(b"")))), Alert.DECODE_ERROR),
    ("server name of another kind", record(hello(extension(0, server_name(b"a.test", kind=1)))), Alert.DECODE_ERROR),
    ("two server names", record(hello(extension(0, b"\0\x0c\0\0\3a.b\0\0\3c.d"))), Alert.DECODE_ERROR),
    ("bytes behind the server name", record(hello(extension(0, server_name(b"a.test") + b"\0"))), Alert.DECODE_ERROR),
    ("server name behind its list", record(hello(extension(0, b"\0\4\0\0\5a"))), Alert.DECODE_ERROR),
    ("empty ALPN extension", record(hello(extension(16, b""))), Alert.DECODE_ERROR),
    ("empty list of protocols", record(hello(extension(16, b"\0\0"))), Alert.DECODE_ERROR),
    ("empty protocol", record(hello(extension(16, b"\0\4\2h2\0"))), Alert.DECODE_ERROR),
    ("protocol behind the end", record(hello(extension(16, b"\0\3\5h2"))), Alert.DECODE_ERROR),
    ("bytes behind the protocols", record(hello(extension(16, b"\0\3\2h2\0"))), Alert.DECODE_ERROR),
    ("no versions", record(hello(extension(43, b"\0"))), Alert.DECODE_ERROR),
    ("half a version", record(hello(extension(43, b"\3\3\4\3"))), Alert.DECODE_ERROR),
    ("versions behind the end", record(hello(extension(43, b"\4\3\4"))), Alert.DECODE_ERROR),
]


@pytest.mark.parametrize(("data", "alert"), [pytest.param(data, alert, id=name) for name, data, alert in VECTORS])
def test_refused_with_an_alert(data: bytes, alert: Alert) -> None:
    error = refusal(data)
    assert error.alert is alert
    assert error.text
    assert error.text == error.text.lower() or "TLS" in error.text


def test_an_ipv4_address_as_a_name_is_taken_as_it_stands() -> None:
    """RFC 6066 section 3 forbids it; scanners do it, and who serves the address can answer them."""
    found = parse_client_hello(record(hello(extension(0, server_name(b"127.0.0.1")))))
    assert isinstance(found, ClientHello)
    assert found.server_name == "127.0.0.1"


@pytest.mark.parametrize(
    "name",
    [
        b"01.2.3.4",
        b"1.2.3.4.5",
        b"1.2.3",
        b"123",
        b"::1",
        b"[::1]",
        b"*.a.test",
        b"a..test",
        b".a.test",
        b"a.test..",
        b".",
        b"-a.test",
        b"a-.test",
        b"a.test:443",
        b"a test",
        b"a.test\0.b.test",
        b"b\xfccher.test",
        b"user@a.test",
        b"a/b.test",
        b"x" * 64 + b".test",
        b".".join([b"x" * 49] * 5) + b".test",
    ],
)
def test_what_is_no_host_name_is_nobody_here(name: bytes) -> None:
    """RFC 6066 section 3."""
    assert refusal(record(hello(extension(0, server_name(name))))).alert is Alert.UNRECOGNIZED_NAME


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        (b"A.TEST", "a.test"),
        (b"a.test.", "a.test"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"under_score.a.test", "under_score.a.test"),
        (b"localhost", "localhost"),
        (b"1.0.0.127.in-addr.arpa", "1.0.0.127.in-addr.arpa"),
        (b"4.3.2.1.a", "4.3.2.1.a"),
        (b"x" * 63 + b".test", "x" * 63 + ".test"),
        (b".".join([b"x" * 62] * 4), ".".join(["x" * 62] * 4)),
    ],
)
def test_host_names(name: bytes, normal: str) -> None:
    assert read(record(hello(extension(0, server_name(name))))).server_name == normal


# --- what is read of older and newer hellos ---


def test_a_hello_without_extensions() -> None:
    assert read(record(hello(version=0x0301, with_extensions=False))) == ClientHello(None, (), (0x0301,))
    assert read(record(hello())) == ClientHello(None, (), (0x0303,))


def test_versions_come_from_their_extension() -> None:
    """RFC 8446 section 4.2.1: legacy_version says nothing where supported_versions is there."""
    found = read(record(hello(extension(43, versions([0x1A1A, 0x0304])), extension(16, H2_AND_H1))))
    assert found.versions == (0x1A1A, 0x0304)


def test_the_longest_hello_fits_into_what_is_looked_at() -> None:
    padding = extension(21, bytes(HELLO_BYTES - len(hello(NAME)) - 4 + 4))
    longest = hello(NAME, padding)
    assert len(longest) - 4 == HELLO_BYTES
    cut = records(longest, (300,) * 50)
    assert len(cut) <= PEEK_BYTES
    assert read(cut).server_name == "a.test"
    most = records(longest, (255,) * (MOST_RECORDS - 1))
    assert len(most) <= PEEK_BYTES
    assert read(most).server_name == "a.test"


def test_the_record_of_an_alert() -> None:
    """RFC 8446 section 6: level fatal, description."""
    assert Alert.UNRECOGNIZED_NAME.record == b"\x15\x03\x03\0\x02\x02\x70"
