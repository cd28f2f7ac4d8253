"""Finds where the tag goes in a page that passes by in pieces: before `</head>`, else right after `<body …>`.

Owns: as much of HTML's tokenizer (WHATWG HTML, section 13.2.5) as tells a tag from what only looks like one: comments, raw text,
scripts in all their states, quoted attributes, templates. Must not change a byte, and must not hold the page: between two pieces
it keeps a few bytes of a token that is not whole yet.

What the page is written in does not matter as long as ASCII characters are single bytes of their own; `qualify` sees to that.
"""

import re
from collections.abc import Callable
from html import unescape

from edgeproxy.inject.reasons import Skip

TAG_PATH = b"/.edge/ui/register.js"

DOCUMENT_WITHIN = 1024
"""Bytes within which a page says that it is one: by a doctype, or an html or head tag."""

SEARCH_LIMIT = 512 << 10
"""Bytes within which the place must be; style sheets and data written into heads are large."""

_LONGEST_NAME = 4096
"""Bytes of one name; more than this is no page that anybody wrote."""

_KEPT_VALUE = 2048
"""Bytes of an attribute's value that are looked at."""

_LOOK_BEHIND_BODY = 256
"""Bytes behind `<body>` in which a tag of ours is recognised."""

_UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xfe\xff", b"\xff\xfe")

_NAME = re.compile(rb"[A-Za-z][^\t\n\f\r />]*+")
# A tag that is whole, by the same rules as the steps of `Scanner`, which are for those that are not: pages have few of these.
_WHOLE = re.compile(
    rb"""[A-Za-z][^\t\n\f\r />]{0,999}+(?=[\t\n\f\r />])
    (?: [\t\n\f\r /]++
      | (?: =[^\t\n\f\r />=]{0,999}+ | [^\t\n\f\r />=]{1,999}+ ) (?![^\t\n\f\r />=])
        (?: [\t\n\f\r ]*+ = [\t\n\f\r ]*+ (?: "[^"]*+" | '[^']*+' | [^\t\n\f\r >"'][^\t\n\f\r >]*+ | (?=>) )
          | (?![\t\n\f\r ]*+=) )
    )*+>""",
    re.VERBOSE,
)
_BLANKS = re.compile(rb"[\t\n\f\r /]*+")
_ATTRIBUTE = re.compile(rb"=?[^\t\n\f\r />=]*+")
_SPACES = re.compile(rb"[\t\n\f\r ]*+")
_UNQUOTED_END = re.compile(rb"[\t\n\f\r >]")
_COMMENT_END = re.compile(rb"--!?>")
# Patterns that begin with a sign of their own are looked for several times as fast; only within `<!--` are hyphens looked at.
_SCRIPT_MARK = re.compile(rb"<(?:!--|/(?i:script)(?=[\t\n\f\r />]))")
_ESCAPED_MARK = re.compile(rb"-->|</?(?i:script)(?=[\t\n\f\r />])")
_TAG_BEHIND = re.compile(rb"[\t\n\f\r ]*+<script[^>]*?" + re.escape(TAG_PATH), re.IGNORECASE)

# Elements whose content is text, whatever it looks like; noscript because scripts run where a service worker does.
_TEXT = frozenset((b"title", b"textarea", b"style", b"xmp", b"iframe", b"noembed", b"noframes", b"noscript"))
_TEXT_END = {name: re.compile(rb"</(?i:%b)(?=[\t\n\f\r />])" % name) for name in _TEXT}
# Here the body begins without a tag, or other rules than these hold.
_NO_WAY_ON = frozenset((b"svg", b"math", b"plaintext", b"frameset"))
_LOOKED_AT = frozenset((b"html", b"meta", b"script"))
_AMP = frozenset((b"amp", b"amp4ads", b"amp4email", "⚡".encode(), "⚡4ads".encode(), "⚡4email".encode()))

Verdict = int | Skip
"""Offset of the place in bytes from the start of the page, or why there is none."""


class Scanner:
    """One page. `feed` it, then `finish`; both answer the verdict once there is one.

    The verdict does not depend on where the pieces were cut.
    """

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self._rest = b""
        self._base = 0
        """Offset of `_rest` in the page."""
        self._step: Callable[[bytes, int], int] = self._start
        self._is_document = False
        self._templates = 0
        self._element = b""
        """Of the tag that is being read, with its slash, in lower case; behind it of the text that is."""
        self._attributes: dict[bytes, bytes] = {}
        self._attribute = b""
        self._value_start = b""
        self._quote = b""
        self._escape = 0
        """Of a script: 0 plain, 1 in what looks like a comment, 2 in a script within that."""

    @property
    def settled(self) -> int:
        """No place lies before this offset, so that bytes up to it may go on. It lags a few bytes behind what was fed."""
        return self.verdict if isinstance(self.verdict, int) else self._base

    def feed(self, data: bytes) -> Verdict | None:
        """The next piece."""
        if self.verdict is None:
            self._run(self._rest + data if self._rest else data)
        return self.verdict

    def finish(self) -> Verdict:
        """The page is over."""
        if self.verdict is None:
            if self._step == self._behind_body:
                self.verdict = Skip.PRESENT if _TAG_BEHIND.match(self._rest) else self._base
            else:
                self.verdict = Skip.NO_PLACE if self._is_document else Skip.NOT_A_DOCUMENT
        return self.verdict

    def _run(self, data: bytes) -> None:
        at = 0
        while self.verdict is None:
            step, moved = self._step, self._step(data, at)
            if moved == at and step == self._step:
                break
            at = moved
        self._base += at
        self._rest = data[at:]
        if self.verdict is None and self._base > 2 * SEARCH_LIMIT:
            self.verdict = Skip.TOO_FAR  # in the middle of something that does not end

    def _is_too_far(self, offset: int) -> bool:
        """Whether a tag that begins at `offset`, or later, comes too late."""
        if offset > DOCUMENT_WITHIN and not self._is_document:
            self.verdict = Skip.NOT_A_DOCUMENT
        elif offset > SEARCH_LIMIT:
            self.verdict = Skip.TOO_FAR
        return self.verdict is not None

    # Each step takes what it can of `data` from `at` on, and answers where it stopped. One that neither moves nor hands over to
    # another waits for more.

    def _start(self, data: bytes, at: int) -> int:
        """A byte order mark, or none."""
        if data[:2] in _WIDE_MARKS:
            self.verdict = Skip.CHARSET
        elif len(data) >= 3 or not _UTF8_MARK.startswith(data):
            self._step = self._text
            return 3 if data.startswith(_UTF8_MARK) else 0
        return at

    def _text(self, data: bytes, at: int) -> int:
        """Between tags (section 13.2.5.1)."""
        at = data.find(b"<", at)
        if at < 0:
            at = len(data)
        if self._is_too_far(self._base + at):
            return at
        kind = data[at + 1 : at + 2]
        if kind == b"!":
            return self._declaration(data, at)
        if kind == b"?":
            self._step = self._bogus
        elif kind.isalpha():
            return self._open(data, at, at + 1, b"")
        elif kind == b"/":
            after = data[at + 2 : at + 3]
            if after.isalpha():
                return self._open(data, at, at + 2, b"/")
            if after:
                self._step = self._bogus
        elif kind:
            return at + 1
        return at

    def _declaration(self, data: bytes, at: int) -> int:
        """`<!`: a comment, a doctype, or what counts as a comment up to the next `>`; CDATA outside of svg and math is that."""
        start = data[at : at + 9].lower()
        if start[:4] == b"<!--":
            self._step = self._comment
            return at + 2
        if start == b"<!doctype":
            self._is_document = True
            self._step = self._bogus
        elif not b"<!--".startswith(start) and not b"<!doctype".startswith(start):
            self._step = self._bogus
        return at

    def _bogus(self, data: bytes, at: int) -> int:
        end = data.find(b">", at)
        if end < 0:
            return len(data)
        self._step = self._text
        return end + 1

    def _comment(self, data: bytes, at: int) -> int:
        """From the hyphens at its start, which may be those of its end: `<!-->` and `<!--->` are whole (section 13.2.5.43)."""
        self._step = self._in_comment
        return self._comment_from(data, at, at + 2)

    def _in_comment(self, data: bytes, at: int) -> int:
        return self._comment_from(data, at, at)

    def _comment_from(self, data: bytes, at: int, bang_from: int) -> int:
        end = _COMMENT_END.search(data, at)
        while end is not None and end.start() < bang_from and end[0] == b"--!>":
            end = _COMMENT_END.search(data, end.start() + 1)
        if end is not None:
            self._step = self._text
            return end.end()
        if bang_from > at and len(data) - at < 5:
            self._step = self._comment  # too little to tell whether it is an empty one
            return at
        return max(at, len(data) - 3)

    def _open(self, data: bytes, at: int, name_at: int, slash: bytes) -> int:
        """`<name` or `</name`; the place is known as soon as `</head` is whole."""
        name = _NAME.match(data, name_at)
        assert name is not None
        if self._is_too_long(name) or name.end() == len(data):
            return at
        element = slash + name[0].lower()
        if element == b"/head" and not self._templates:
            self.verdict = self._base + at if self._is_document else Skip.NOT_A_DOCUMENT
            return at
        self._element = element
        self._attributes = {}
        whole = _WHOLE.match(data, name_at)
        if whole is not None and not self._is_looked_at(whole[0]):
            self._step = self._text
            self._closed()
            return whole.end()
        self._step = self._tag
        return name.end()

    def _is_looked_at(self, tag: bytes) -> bool:
        """Whether an attribute of this tag may say something."""
        if self._element == b"script":
            return TAG_PATH in tag or b"&" in tag
        return self._element == b"html" or (self._element == b"meta" and b"http-equiv" in tag.lower())

    # --- inside a tag (sections 13.2.5.32 to 13.2.5.40)

    def _tag(self, data: bytes, at: int) -> int:
        """Before an attribute's name."""
        blanks = _BLANKS.match(data, at)
        assert blanks is not None
        at = blanks.end()
        if data[at : at + 1] == b">":
            self._step = self._text
            self._closed()
            return at + 1
        name = _ATTRIBUTE.match(data, at)
        assert name is not None
        if self._is_too_long(name) or name.end() == len(data):
            return at
        self._attribute = name[0].lower()
        self._step = self._behind_name
        return name.end()

    def _is_too_long(self, name: re.Match[bytes]) -> bool:
        if len(name[0]) > _LONGEST_NAME:
            self.verdict = Skip.TOO_FAR
        return self.verdict is not None

    def _behind_name(self, data: bytes, at: int) -> int:
        spaces = _SPACES.match(data, at)
        assert spaces is not None
        at = spaces.end()
        after = data[at : at + 1]
        if after == b"=":
            self._step = self._before_value
            return at + 1
        if after:
            self._keep(b"")
            self._step = self._tag
        return at

    def _before_value(self, data: bytes, at: int) -> int:
        spaces = _SPACES.match(data, at)
        assert spaces is not None
        at = spaces.end()
        first = data[at : at + 1]
        if not first:
            return at
        self._quote = first if first in (b'"', b"'") else b""
        self._value_start = b""
        self._step = self._value
        return at + 1 if self._quote else at

    def _value(self, data: bytes, at: int) -> int:
        if self._quote:
            end = data.find(self._quote, at)
        else:
            match = _UNQUOTED_END.search(data, at)
            end = -1 if match is None else match.start()
        room = _KEPT_VALUE - len(self._value_start)
        self._value_start += data[at : at + room if end < 0 else min(end, at + room)]
        if end < 0:
            return len(data)
        self._keep(self._value_start)
        self._step = self._tag
        return end + 1 if self._quote else end

    def _keep(self, value: bytes) -> None:
        """Of two attributes of one name the first counts."""
        if self._element in _LOOKED_AT and len(self._attributes) < 64:
            self._attributes.setdefault(self._attribute[:64], value)

    def _closed(self) -> None:
        """A whole tag went by."""
        element = self._element
        if element == b"template":
            self._templates += 1
        elif element == b"/template":
            self._templates = max(0, self._templates - 1)
        elif element == b"script":
            self._escape = 0
            self._step = self._script
            if unescape(self._attributes.get(b"src", b"").decode("latin-1")).partition("?")[0].endswith(TAG_PATH.decode()):
                self.verdict = Skip.PRESENT
        elif element in _TEXT:
            self._step = self._raw
        elif not self._templates:
            self._closed_outside(element)

    def _closed_outside(self, element: bytes) -> None:
        """The same for tags that mean nothing within a template."""
        if element in (b"html", b"head"):
            self._is_document = True
            if element == b"html" and any(_plain_sign(name) in _AMP for name in self._attributes):
                self.verdict = Skip.AMP
        elif element == b"meta":
            kind = unescape(self._attributes.get(b"http-equiv", b"").decode("latin-1")).strip("\t\n\f\r ").lower()
            if kind == "content-security-policy":
                self.verdict = Skip.META_CSP
        elif element == b"body":
            self._step = self._behind_body
            if not self._is_document:
                self.verdict = Skip.NOT_A_DOCUMENT
        elif element in _NO_WAY_ON:
            self.verdict = Skip.NO_PLACE if self._is_document else Skip.NOT_A_DOCUMENT

    def _behind_body(self, data: bytes, at: int) -> int:
        """Whether the tag stands there already, from an edge before this one."""
        if _TAG_BEHIND.match(data, at, at + _LOOK_BEHIND_BODY):
            self.verdict = Skip.PRESENT
        elif len(data) - at >= _LOOK_BEHIND_BODY:
            self.verdict = self._base + at
        return at

    # --- text that is not markup

    def _raw(self, data: bytes, at: int) -> int:
        """RCDATA and raw text: up to the end tag of its own name (sections 13.2.5.2 and 13.2.5.3)."""
        closing = b"</" + self._element
        match = _TEXT_END[self._element].search(data, at)
        if match is None:
            return max(at, len(data) - len(closing))
        self._step = self._text
        return match.start()

    def _script(self, data: bytes, at: int) -> int:
        """Sections 13.2.5.4 and 13.2.5.15 to 13.2.5.31: `<!--` and `<script` within it hide an end tag."""
        mark = (_ESCAPED_MARK if self._escape else _SCRIPT_MARK).search(data, at)
        if mark is None:
            return max(at, len(data) - len(b"</script"))
        found = mark[0].lower()
        if found == b"<!--":
            self._escape = 1
            return mark.start() + 2  # its hyphens may be those of `-->`
        if found == b"-->":
            self._escape = 0
        elif found == b"<script":
            self._escape = 2
        elif self._escape == 2:
            self._escape = 1
        else:
            self._step = self._text
            return mark.start()
        return mark.end()


def _plain_sign(name: bytes) -> bytes:
    """The lightning may be followed by a selector that asks for its picture."""
    return name.replace("\ufe0f".encode(), b"")
