"""The reader of one response, fed in every way that a socket may feed it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import OriginError, OriginMalformed, OriginReset, OriginTruncated
from edgeproxy.origin.answer import Answer
from edgeproxy.origin.messages import OriginSettings
from edgeproxy.wire.fields import Fields
from tests.support.broken_origins import BROKEN, EVIL, BrokenAnswer

SETTINGS = OriginSettings()

GOOD = [
    ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX-T: 1\r\n\r\n", b"hello"),
    ("interim", b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ("nothing", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
]


def fed(pieces: list[bytes], method: str = "GET") -> Answer:
    answer = Answer(method, SETTINGS)
    for piece in pieces:
        answer.feed(piece)
    return answer


def body(answer: Answer) -> bytes:
    return b"".join(answer.pieces)


@pytest.mark.parametrize(("name", "raw", "expected"), GOOD, ids=[case[0] for case in GOOD])
def test_an_answer_reads_the_same_whole_split_at_every_byte_and_byte_by_byte(name: str, raw: bytes, expected: bytes) -> None:
    whole = fed([raw])
    assert whole.ended
    assert whole.reusable
    assert body(whole) == expected
    for cut in range(1, len(raw)):
        assert not fed([raw[:cut]]).ended
    for pieces in [[raw[:cut], raw[cut:]] for cut in range(1, len(raw))] + [[bytes((byte,)) for byte in raw]]:
        answer = fed(pieces)
        assert (answer.head, answer.framing, answer.interim, answer.trailers) == (
            whole.head,
            whole.framing,
            whole.interim,
            whole.trailers,
        )
        assert (body(answer), answer.ended, answer.reusable) == (expected, True, True)


@pytest.mark.parametrize(("name", "raw", "expected"), GOOD, ids=[case[0] for case in GOOD])
def test_bytes_after_the_end_are_never_body_and_spoil_the_connection(name: str, raw: bytes, expected: bytes) -> None:
    """RFC 9112 section 9.2."""
    for pieces in ([raw + EVIL], [raw, EVIL], [raw + EVIL[:1], EVIL[1:]]):
        answer = fed(pieces)
        assert body(answer) == expected
        assert answer.ended
        assert not answer.reusable


@pytest.mark.parametrize(("name", "raw", "expected"), GOOD, ids=[case[0] for case in GOOD])
def test_the_end_of_the_connection_before_the_end_of_the_answer_is_an_error(name: str, raw: bytes, expected: bytes) -> None:
    """RFC 9112 section 8."""
    head = raw.index(b"HTTP/1.1 2") + raw[raw.index(b"HTTP/1.1 2") :].index(b"\r\n\r\n") + 4
    for cut in range(len(raw)):
        answer = fed([raw[:cut]] if cut else [])
        with pytest.raises(OriginReset if cut < head else OriginTruncated):
            answer.feed_eof()
    fed([raw]).feed_eof()


def test_a_body_without_length_ends_with_the_connection_and_not_before() -> None:
    answer = fed([b"HTTP/1.1 200 OK\r\n\r\nhello", b" world"])
    assert not answer.ended
    answer.feed_eof()
    assert (body(answer), answer.ended, answer.reusable) == (b"hello world", True, False)


@pytest.mark.parametrize("case", [case for case in BROKEN if case.raw], ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_broken_answer_reads_the_same_in_any_pieces(case: BrokenAnswer, size: int) -> None:
    assert _outcome([case.raw[at : at + size] for at in range(0, len(case.raw), size)], case) == _outcome([case.raw], case)


def _outcome(pieces: list[bytes], case: BrokenAnswer) -> tuple[object, ...]:
    answer = Answer(case.method, SETTINGS)
    try:
        for piece in pieces:
            answer.feed(piece)
        if case.after == "close":
            answer.feed_eof()
    except OriginError as error:
        kind = OriginMalformed if isinstance(error, OriginMalformed) else type(error)
        return (kind, answer.head is not None)
    return (answer.head, body(answer), answer.ended, answer.reusable)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
)
def test_whatever_comes_is_read_or_refused_as_the_origins_fault(data: bytes, start: bytes) -> None:
    answer = Answer("GET", SETTINGS)
    try:
        answer.feed(start + data) if start + data else None
        answer.feed_eof()
    except OriginError:
        assert not answer.ended or answer.surplus
    else:
        assert answer.ended


@pytest.mark.parametrize("case", [case for case in BROKEN if case.expect == "ok"], ids=lambda case: case.name)
def test_an_answer_is_sound_when_it_ends_where_its_head_says(case: BrokenAnswer) -> None:
    """RFC 9112 section 9.2, RFC 9110 section 15.3.5. Only what is closed in good order is sound and yet not reusable."""
    answer = fed([case.raw], case.method)
    assert answer.is_sound is (answer.reusable or case.name == "connection: close, kept open")


def test_what_is_kept_of_a_head_is_bounded() -> None:
    settings = OriginSettings(head_bytes=1000, field_count=10)
    with pytest.raises(OriginMalformed):
        Answer("GET", settings).feed(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 1000)
    with pytest.raises(OriginMalformed):
        Answer("GET", settings).feed(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 11 + b"\r\n")
    answer = Answer("GET", settings)
    answer.feed(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10 + b"\r\n")
    assert answer.head is not None
    assert answer.head.fields == Fields([("A", "b")] * 10)
