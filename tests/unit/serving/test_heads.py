"""Finding heads in bytes, and the memo of parsed heads."""

from collections.abc import Callable

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.inject.qualify import of_request
from edgeproxy.serving.heads import BLANK_LINES, MEMO_HEAD_BYTES, HeadBuffer, HeadMemo, is_simple
from edgeproxy.wire.http1 import Limits, parse_request_head, with_target
from edgeproxy.wire.messages import Request

LIMITS = Limits(head_bytes=500, target_bytes=100)
HEAD = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"


def request(head: bytes = HEAD) -> Request:
    return parse_request_head(head, Limits())


def fed(data: bytes) -> HeadBuffer:
    buffer = HeadBuffer(LIMITS)
    buffer.data += data
    return buffer


def test_a_head_ends_with_its_empty_line_and_the_rest_stays() -> None:
    buffer = fed(HEAD + HEAD + b"rest")
    assert [buffer.take(), buffer.take()] == [HEAD, HEAD]
    assert buffer.take_all() == b"rest"
    assert len(buffer) == 0


@pytest.mark.parametrize("at", range(1, len(HEAD)))
def test_a_head_split_anywhere_is_found_once_it_is_whole(at: int) -> None:
    buffer = fed(HEAD[:at])
    assert buffer.take() is None
    buffer.data += HEAD[at:] + b"x"
    assert buffer.take() == HEAD
    assert buffer.data == b"x"


def test_a_head_byte_by_byte() -> None:
    buffer = fed(b"")
    for byte in HEAD[:-1]:
        buffer.data.append(byte)
        assert buffer.take() is None
    buffer.data.append(HEAD[-1])
    assert buffer.take() == HEAD


@pytest.mark.parametrize("lines", range(1, BLANK_LINES + 1))
def test_a_few_leading_empty_lines_are_skipped(lines: int) -> None:
    """RFC 9112 section 2.2."""
    assert fed(b"\r\n" * lines + HEAD).take() == HEAD


def test_the_count_of_empty_lines_starts_anew_with_each_head() -> None:
    buffer = fed((b"\r\n" * BLANK_LINES + HEAD) * 3)
    assert [buffer.take() for _ in range(3)] == [HEAD] * 3


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n" * (BLANK_LINES + 1), 400),
        (b"\n", 400),
        (b"\rG", 400),
        (b" G", 400),
        (b"\x16\x03\x01", 400),
        (b"\x80", 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\rH", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\rb", 400),
        (b"GET / http/1.1\r\n", 400),
        (b"GET /" + b"a" * 300, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 500, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 500 + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_become_a_head_is_refused_before_it_ends(data: bytes, status: int) -> None:
    with pytest.raises(RequestRefused) as raised:
        fed(data).take()
    assert raised.value.status == status


@pytest.mark.parametrize("data", [b"\r", b"\r\n\r", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: a\r"])
def test_a_cr_at_the_end_may_still_become_a_line_end(data: bytes) -> None:
    assert fed(data).take() is None


@pytest.mark.parametrize(
    ("head", "simple"),
    [
        (HEAD, True),
        (b"HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n", True),
        (b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", True),
        (b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n", False),
        (b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", False),
        (b"GET /a HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n", False),
        (b"GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", False),
    ],
)
def test_only_whole_requests_that_keep_the_connection_are_simple(head: bytes, simple: bool) -> None:
    assert is_simple(request(head)) is simple


def test_the_memo_keeps_a_head_at_its_second_sight() -> None:
    memo, kept = HeadMemo(100, 10**6, Limits()), request()
    memo.offer(HEAD, kept)
    assert memo.find(HEAD) is None
    memo.offer(HEAD, kept)
    assert memo.find(HEAD) is kept
    assert memo.recent[HEAD] is kept


def test_unique_heads_leave_nothing_in_the_memo() -> None:
    memo, kept = HeadMemo(100, 10**6, Limits()), request()
    memo.offer(HEAD, kept)
    memo.offer(HEAD, kept)
    for number in range(100_000):
        memo.offer(b"GET /%d HTTP/1.1\r\n\r\n" % number, kept)
    assert len(memo) == 1
    assert len(memo._seen) <= 200


def test_a_head_in_use_outlives_any_number_of_others() -> None:
    memo, kept = HeadMemo(100, 10**6, Limits()), request()
    recent = memo.recent
    for _ in range(2):
        memo.offer(HEAD, kept)
    for number in range(1000):
        for _ in range(2):
            memo.offer(b"%d" % number, kept)
        if number % 10 == 0:
            assert memo.find(HEAD) is kept
        assert len(memo) <= 100
    assert memo.recent is recent  # the hot path holds its `get`


def test_the_memo_is_bounded_by_bytes() -> None:
    memo, kept = HeadMemo(10**6, 100_000, Limits()), request()
    for number in range(1000):
        for _ in range(2):
            memo.offer(b"%04d" % number + b"a" * 1000, kept)
    assert 40 <= len(memo) <= 100


def test_long_heads_are_not_remembered() -> None:
    memo, head = HeadMemo(100, 10**6, Limits()), b"a" * (MEMO_HEAD_BYTES + 1)
    memo.offer(head, request())
    memo.offer(head, request())
    assert len(memo) == 0


FIELDS = b"\r\nHost: a.test\r\nAccept: */*\r\n\r\n"


def memo_that_knows(head: bytes) -> HeadMemo:
    memo = HeadMemo(100, 10**6, Limits())
    memo.offer(head, parse_request_head(head, Limits()))
    return memo


def memo_that_knows_the_lines(head: bytes) -> HeadMemo:
    """The same, and the field lines have come so often that they are known by their bytes."""
    memo = memo_that_knows(head)
    for _ in range(2):
        assert memo.kin(head.replace(b"/one", b"/two")) is not None
    return memo


KNOWING = [memo_that_knows, memo_that_knows_the_lines]


@pytest.mark.parametrize("knowing", KNOWING)
def test_a_head_with_known_fields_is_known_but_for_its_target(knowing: Callable[[bytes], HeadMemo]) -> None:
    memo = knowing(b"GET /one HTTP/1.1" + FIELDS)
    kin = memo.kin(b"GET /two?b=%20 HTTP/1.1" + FIELDS)
    assert kin is not None
    known, target = kin
    assert (known.target, target) == ("/one", "/two?b=%20")
    assert with_target(known, target).url == parse_request_head(b"GET /two?b=%20 HTTP/1.1" + FIELDS, Limits()).url


@pytest.mark.parametrize(
    "head",
    [
        b"HEAD /two HTTP/1.1" + FIELDS,
        b"GET /two HTTP/1.0" + FIELDS,
        b"GET /two HTTP/1.2" + FIELDS,
        b"GET http://b.test/ HTTP/1.1" + FIELDS,
        b"GET * HTTP/1.1" + FIELDS,
        b"GET /a b HTTP/1.1" + FIELDS,
        b"GET /a#b HTTP/1.1" + FIELDS,
        b"GET /\xc3\xa4 HTTP/1.1" + FIELDS,
        b"GET /\x00 HTTP/1.1" + FIELDS,
        b"GET  /two HTTP/1.1" + FIELDS,
        b"GET /two HTTP/1.1 " + FIELDS,
        b"GET /two HTTP/1.1\r" + FIELDS,
        b"GET /two HTTP/1.1" + FIELDS[:-2],
        b"GET /two HTTP/1.1" + FIELDS + b"GET /three HTTP/1.1" + FIELDS,
        b"GET /two HTTP/1.1\r\nX: y" + FIELDS,
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1" + FIELDS,
    ],
)
@pytest.mark.parametrize("knowing", KNOWING)
def test_only_an_origin_form_line_of_the_same_method_before_the_same_fields_is_kin(
    knowing: Callable[[bytes], HeadMemo], head: bytes
) -> None:
    assert knowing(b"GET /one HTTP/1.1" + FIELDS).kin(head) is None


INCIDENTAL = (
    b"\r\nHost: a.test\r\nUser-Agent: x y\r\nReferer: http://a.test/\r\nCookie: a=b\r\nAccept: image/png,*/*"
    b"\r\nSec-Fetch-Mode: navigate\r\nAccept-Language: de\r\n\r\n"
)


def test_incidental_fields_do_not_make_a_stranger() -> None:
    memo = memo_that_knows(b"GET /one HTTP/1.1" + FIELDS)
    for _ in range(3):
        kin = memo.kin(b"GET /two HTTP/1.1" + INCIDENTAL)
        assert kin is not None
        assert kin[1] == "/two"


PAGE = b"\r\nHost: a.test\r\nAccept: text/html,*/*\r\n\r\n"
WHO_ASKS_FOR_A_PAGE = [
    (PAGE, True),
    (b"\r\nAccept: a/b\r\nHost: a.test\r\nAccept: Text/HTML\r\n\r\n", True),
    (b"\r\nHost: a.test\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nAccept: */*\r\n\r\n", True),
    (b"\r\nSec-Fetch-Dest: empty\r\nHost: a.test\r\nSec-Fetch-Dest: document\r\n\r\n", True),
    (FIELDS, False),
    (b"\r\nHost: a.test\r\nAccept: text/html\r\nAccept: */*\r\n\r\n", False),
    (b"\r\nHost: a.test\r\nAccept: text/html\r\nAccept: \r\n\r\n", False),
    (b"\r\nAccept: text/html\r\nSec-Fetch-Dest: iframe\r\nHost: a.test\r\n\r\n", False),
    (b"\r\nHost: a.test\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\nSec-Fetch-Dest: empty\r\n\r\n", False),
]
STRANGERS = [
    b"Sec-fetch-dest: document",
    b"sec-fetch-dest: empty",
    b"Sec-Fetch-Dest: serviceworker",
    b"Sec-Fetch-Dest:document",
]


@pytest.mark.parametrize(("fields", "is_page"), WHO_ASKS_FOR_A_PAGE)
@pytest.mark.parametrize("knowing", KNOWING)
def test_who_asks_for_a_page_to_show_is_kin_to_others_who_do(
    knowing: Callable[[bytes], HeadMemo], fields: bytes, is_page: bool
) -> None:
    head = b"GET /two HTTP/1.1" + fields
    assert (of_request(parse_request_head(head, Limits(), scheme="https")) is None) is is_page
    assert (knowing(b"GET /one HTTP/1.1" + PAGE).kin(head) is not None) is is_page
    assert (knowing(b"GET /one HTTP/1.1" + FIELDS).kin(head) is not None) is not is_page
    assert (knowing(b"GET /one HTTP/1.1\r\nHost: a.test\r\n\r\n").kin(head) is not None) is not is_page


@pytest.mark.parametrize("line", STRANGERS)
@pytest.mark.parametrize("known", [PAGE, FIELDS])
def test_a_line_that_may_say_what_is_asked_for_and_is_not_plain_makes_a_stranger(line: bytes, known: bytes) -> None:
    assert (
        memo_that_knows(b"GET /one HTTP/1.1" + known).kin(b"GET /two HTTP/1.1\r\n" + line + b"\r\nHost: a.test\r\n\r\n") is None
    )


@pytest.mark.parametrize(
    "fields",
    [
        b"\r\nHost: a.test\r\n\r\nReferer: swallowed\r\n",
        b"\r\nHost: a.test\r\n\r\nReferer: swallowed\r\n\r\n",
        b"\r\nHost: a.test\r\nReferer: a\x00b\r\n\r\n",
        b"\r\nHost: a.test\r\nReferer: a\rb\r\n\r\n",
        b"\r\nHost: a.test\r\nReferer: a\nb\r\n\r\n",
        b"\r\nHost: a.test\r\nReferer : a\r\n\r\n",
        b"\r\nHost: a.test\r\nReferer: a\r\n folded\r\n\r\n",
        b"\r\nHost: a.test\r\nAccept-Encoding: br\r\n\r\n",
        b"\r\nHost: a.test\r\nRange: bytes=0-1\r\n\r\n",
        b"\r\nHost: a.test\r\nCookie: a\r\nAuthorization: b\r\n\r\n",
        b"\r\nHost: b.test\r\n\r\n",
        b"\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        b"\r\nHost: b.test\r\nHost: a.test\r\n\r\n",
        b"\r\nhost: b.test\r\nHost: a.test\r\n\r\n",
        b"\r\nHost: a.test\r\nX-Forwarded-Host: b.test\r\n\r\n",
        b"\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        b"\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n",
        b"\r\nHost: a.test" + b"\r\nDNT: 1" * 120 + b"\r\n\r\n",
        b"\r\nHost: a.test\r\nCookie: " + b"a" * 5000 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("knowing", KNOWING)
def test_fields_that_matter_and_lines_that_are_malformed_make_a_stranger(
    knowing: Callable[[bytes], HeadMemo], fields: bytes
) -> None:
    assert knowing(b"GET /one HTTP/1.1\r\nHost: a.test\r\n\r\n").kin(b"GET /two HTTP/1.1" + fields) is None


@pytest.mark.parametrize("knowing", KNOWING)
@pytest.mark.parametrize("referer", [b"http://a.test/" + b"x" * 40, b"", b"\t \x80\xff"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_referer_of_any_value_in_any_place_does_not_make_a_stranger(
    knowing: Callable[[bytes], HeadMemo], referer: bytes, place: int
) -> None:
    memo = knowing(b"GET /one HTTP/1.1" + FIELDS)
    lines = [b"Host: a.test\r\n", b"Accept: */*\r\n"]
    lines.insert(place, b"Referer: %b\r\n" % referer)
    kin = memo.kin(b"GET /two HTTP/1.1\r\n%b\r\n" % b"".join(lines))
    assert kin is not None
    assert kin[1] == "/two"


def test_a_kin_that_is_answered_often_is_known_as_a_whole() -> None:
    memo = memo_that_knows(b"GET /one HTTP/1.1" + FIELDS)
    head = b"GET /two HTTP/1.1" + FIELDS
    kin = memo.kin(head)
    assert kin is not None
    memo.offer_kin(head, *kin)
    assert memo.find(head) is None
    for _ in range(16):
        memo.offer_kin(head, *kin)
    found = memo.find(head)
    assert found is not None
    assert found.target == "/two"
