"""Request heads on their way in: found in the byte stream, and remembered once parsed.

Owns: where a head ends, what is hopeless before it ends, and the memo from head bytes to `Request`.
Must not parse a head; that is `wire.http1`. Pure, without sockets and clock.
"""

import re
from functools import lru_cache

from edgeproxy.errors import RequestRefused
from edgeproxy.inject.qualify import wants_document
from edgeproxy.wire.http1 import Limits, oversized, with_target
from edgeproxy.wire.messages import Request

MEMO_HEAD_BYTES = 4096
"""Longer heads are not remembered."""

MAX_KIN = 512
"""Kinds of heads that are remembered (`_kind_of`)."""

BLANK_LINES = 4
"""Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one)."""

# A plain head, whole: GET in origin form, Host once, Accept-Encoding at most once, and lines that no ready answer depends on (a
# response that varies by one of them is never answered by `Handler.instant_like`). Stricter than the grammar of `wire`.
# Whether a page to show is asked for does matter (`inject.qualify`): the two fields that say so are looked at by `_kind_of`.
_OTHERS = (
    rb"(?:(?:(?:User-Agent|Referer|Cookie|Accept(?:-Language)?|DNT|Priority|Upgrade-Insecure-Requests|"
    rb"Sec-(?:[A-EG-Z]|Fetch-[MSU])[A-Za-z-]*+): [\t -~\x80-\xff]*+|"
    rb"Sec-Fetch-Dest: (?!serviceworker)[a-z]++|Connection: keep-alive)\r\n){0,16}+"
)
_HOST = rb"Host: ([!-~]++)\r\n"
_CODING = rb"Accept-Encoding: ([ -~]++)\r\n"
_PLAIN = re.compile(
    rb"GET (/[!\"$-~]*+) HTTP/1\.1\r\n%(others)b"
    rb"(?:%(host)b%(others)b(?:%(coding)b%(others)b)?+|%(coding)b%(others)b%(host)b%(others)b)\r\n"
    % {b"others": _OTHERS, b"host": _HOST, b"coding": _CODING}
)
_PLAIN_LINES = 3 * 16 + 2
_VERSION = b" HTTP/1.1\r"
_REFERER = b"\nReferer: "
_ACCEPT, _DESTINATION = b"\r\nAccept: ", b"\r\nSec-Fetch-Dest: "
_VALUE_BYTES = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
"""What a field value may hold (RFC 9110 section 5.5)."""
_TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
"""What a target in origin form may hold, as `_PLAIN` has it."""
_NEVER = re.compile(rb"(?!)")

_END = b"\r\n\r\n"
# A line end that is not CRLF can only lead to a refusal; said at once instead of after the head time-out.
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_TOKEN_START = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_REQUEST_LINE = re.compile(rb"[^ ]+ .* HTTP/[0-9]\.[0-9]", re.DOTALL)
_LINE_ROOM = 128  # for the method, two spaces and the version around a longest target


class HeadBuffer:
    """Received bytes that are not yet taken; heads leave it whole and in order."""

    __slots__ = ("_blank", "_limits", "_line_seen", "_scanned", "data")

    def __init__(self, limits: Limits) -> None:
        self.data = bytearray()
        self._limits = limits
        self._scanned = 0
        self._blank = 0
        self._line_seen = False

    def __len__(self) -> int:
        return len(self.data)

    def take(self) -> bytes | None:
        """The next head with its empty line, or None when more has to come.

        Raises RequestRefused as soon as no continuation could make a head of what is there.
        """
        data = self.data
        self._skip_blank_lines()
        end = data.find(_END, max(0, self._scanned - 3))
        if end < 0:
            if data:
                self._judge_part()
            return None
        end += len(_END)
        if end > self._limits.head_bytes:
            raise oversized(bytes(data), self._limits)
        head = bytes(memoryview(data)[:end])
        del data[:end]
        self._restart()
        return head

    def take_all(self) -> bytes:
        """Everything, for a body or a tunnel that follows the head just taken."""
        rest = bytes(self.data)
        self.clear()
        return rest

    def clear(self) -> None:
        """Drop everything."""
        self.data.clear()
        self._restart()

    def _restart(self) -> None:
        self._scanned = 0
        self._blank = 0
        self._line_seen = False

    def _skip_blank_lines(self) -> None:
        while self.data.startswith(b"\r\n"):
            self._blank += 1
            if self._blank > BLANK_LINES:
                raise RequestRefused("too many empty lines before the request line")
            del self.data[:2]
            self._scanned = 0

    def _judge_part(self) -> None:
        data = self.data
        if self._scanned == 0 and data[0] not in _TOKEN_START and data != b"\r":
            raise RequestRefused("not an HTTP request")
        if _BARE.search(data, max(0, self._scanned - 1)):
            raise RequestRefused("line end is not CRLF")
        self._scanned = len(data)
        if not self._line_seen:
            self._judge_line()
        if len(data) > self._limits.head_bytes:
            raise oversized(bytes(data), self._limits)

    def _judge_line(self) -> None:
        limit = self._limits.target_bytes + _LINE_ROOM
        end = self.data.find(b"\r\n", 0, limit + 2)
        if end < 0:
            if len(self.data) > limit:
                raise RequestRefused("target is too long", status=414, limit=self._limits.target_bytes)
            return
        self._line_seen = True
        if not _REQUEST_LINE.fullmatch(self.data, 0, end):
            raise RequestRefused("malformed request line")


def is_simple(request: Request) -> bool:
    """Whether the head alone is the whole request and the connection stays open after it: what may be answered at once."""
    return (
        request.body_length == 0
        and request.keep_alive
        and request.version == (1, 1)
        and request.upgrade is None
        and not request.expects_continue
    )


class HeadMemo:
    """Parsed simple requests by their exact head bytes, shared by the connections of a listener.

    Two generations: `recent` takes what is new or used again; when it is full it becomes the old one, and what was not used
    since then goes. A head enters only at its second sight, so that unique heads leave nothing but a hash. Each generation holds
    half of the entries and bytes. `recent` stays the same object, so that its `get` can be kept by the hot path.

    Beside them one request for each host and set of codings, for pages and for the rest: most heads differ from it in their
    target and in lines that do not matter for an answer that is ready (`kin`). Field lines that come again with other targets and
    another `Referer`, as a browser sends them, are known by their bytes; others are judged by a pattern.
    """

    # fmt: off
    __slots__ = (
        "_bytes", "_half_bytes", "_half_entries", "_kin", "_known_lines", "_limits", "_old", "_plain", "_seen", "_turn", "recent",
    )
    # fmt: on

    def __init__(self, entries: int, size: int, limits: Limits) -> None:
        self._limits = limits
        self._kin: dict[_Kind, Request] = {}
        self._known_lines: dict[bytes, Request] = {}
        self._plain = _PLAIN if limits.field_count >= _PLAIN_LINES else _NEVER
        self.recent: dict[bytes, Request] = {}
        self._old: dict[bytes, Request] = {}
        self._seen: set[int] = set()
        self._half_entries = max(1, entries // 2)
        self._half_bytes = max(MEMO_HEAD_BYTES, size // 2)
        self._bytes = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self.recent) + len(self._old)

    def find(self, head: bytes) -> Request | None:
        """The request these bytes were parsed to, if it is remembered."""
        request = self.recent.get(head)
        if request is None and (request := self._old.pop(head, None)) is not None:
            self._keep(head, request)
        return request

    def kin(self, head: bytes) -> tuple[Request, str] | None:
        """A request that is the same in all that matters but its target, and the target, when these bytes are one whole plain
        head whose like is known."""
        line, _, lines = head.partition(_VERSION)
        lines = _without_referer(lines)
        known = self._known_lines.get(lines)
        if known is None:
            return self._kin_by_pattern(head, lines)
        target = line[4:]
        if not line.startswith(b"GET /") or target.translate(None, _TARGET_BYTES) or len(target) > self._limits.target_bytes:
            return None
        return known, target.decode("latin-1")

    def _kin_by_pattern(self, head: bytes, lines: bytes) -> tuple[Request, str] | None:
        if len(head) > MEMO_HEAD_BYTES:
            return None
        match = self._plain.fullmatch(head)
        if match is None:
            return None
        target = match[1]
        known = self._kin.get(_kind_of(head, match))
        if known is None or len(target) > self._limits.target_bytes:
            return None
        if self._is_second_sight(lines):
            if len(self._known_lines) >= MAX_KIN:
                self._known_lines.clear()
            self._known_lines[lines] = known
        return known, target.decode("latin-1")

    def offer_kin(self, head: bytes, known: Request, target: str) -> None:
        """Remember the head of a kin that was answered at once, when it has been seen before. Only one in eight is looked at: a
        head that comes often is found soon enough, and the others cost nothing."""
        self._turn = (self._turn + 1) & 7
        if not self._turn and self._is_second_sight(head):
            self._keep(head, with_target(known, target))

    def _remember_kin(self, head: bytes, request: Request) -> None:
        match = self._plain.fullmatch(head)
        if match is not None:
            if len(self._kin) >= MAX_KIN:
                self._kin.clear()
            self._kin[_kind_of(head, match)] = request

    def offer(self, head: bytes, request: Request) -> None:
        """Remember a simple `request` when its head has been seen before."""
        if len(head) > MEMO_HEAD_BYTES:
            return
        self._remember_kin(head, request)
        if self._is_second_sight(head):
            self._keep(head, request)

    def _is_second_sight(self, head: bytes) -> bool:
        mark = hash(head)
        if mark in self._seen:
            self._seen.discard(mark)
            return True
        if len(self._seen) >= 4 * self._half_entries:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def _keep(self, head: bytes, request: Request) -> None:
        if len(self.recent) >= self._half_entries or self._bytes + len(head) > self._half_bytes:
            self._old = dict(self.recent)
            self.recent.clear()
            self._bytes = 0
        self.recent[head] = request
        self._bytes += len(head)


_Kind = tuple[bytes, bytes | None, bool]


def _kind_of(head: bytes, plain: re.Match[bytes]) -> _Kind:
    """What of a plain head an answer depends on besides its target: host, codings, and whether it asks for a page to show."""
    _, host, coding, coding_before, host_after = plain.groups()
    # Of several lines the last one counts, and `Accept` only where there is no destination.
    at = head.rfind(_DESTINATION)
    if at < 0:
        at = head.rfind(_ACCEPT)
    is_page = at >= 0 and _asks_for_page(head[at : head.find(b"\r", at + 2)])
    return host or host_after, coding or coding_before, is_page


@lru_cache(maxsize=256)
def _asks_for_page(line: bytes) -> bool:
    """`wants_document` of the line that decides."""
    name, _, value = line.decode("latin-1").partition(": ")
    return wants_document(value, None) if name == "\r\nSec-Fetch-Dest" else wants_document(None, value)


def _without_referer(lines: bytes) -> bytes:
    """Field lines without the first `Referer`, which says nothing about an answer; b"" when its value is none.

    `lines` begin with the line feed that ends the request line.
    """
    before, referer, behind = lines.partition(_REFERER)
    if not referer:
        return lines
    value, _, after = behind.partition(b"\r")
    if value.translate(None, _VALUE_BYTES) or before.endswith(b"\n\r"):  # the empty line: what follows is another request
        return b""
    return before + after
