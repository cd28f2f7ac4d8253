"""What is wrong with a request head that does not match the grammar, in words.

Owns: the diagnosis, which runs for refused heads only. Must not decide whether a head is refused; `wire.http1` has done that.
"""

import re
from collections.abc import Iterable

from edgeproxy.wire.grammar import TOKEN

_LINE_ENDS = (
    (re.compile(rb"(?<!\r)\n"), "bare LF"),
    (re.compile(rb"\r(?!\n)"), "bare CR"),
)
_REQUEST_LINE = (
    (re.compile(rb"[ \t]"), "whitespace before the request line"),
    (re.compile(rb"\Z"), "request line is empty"),
    (re.compile(rb"(?!" + TOKEN.encode() + rb"(?: |\Z))"), "method is malformed"),
    (re.compile(rb"[^ ]*+\Z|[^ ]*+ HTTP/[^ ]*+\Z"), "request line without a target"),
    (re.compile(rb"[^ ]*+  "), "more than one space in the request line"),
    (re.compile(rb"(?!.*? HTTP/[0-9]\.[0-9]\Z)"), "HTTP version is missing or malformed"),
    (re.compile(rb"(?![^ ]*+ [!\"$-~]++ HTTP/[0-9]\.[0-9]\Z)"), "target has a character that it must not have"),
)
_FIELD_LINE = (
    (re.compile(rb"\Z"), "empty line inside the head"),
    (re.compile(rb"[ \t]"), "field line begins with whitespace"),
    (re.compile(rb":"), "field name is empty"),
    (re.compile(rb"[^:]++\Z"), "field line without a colon"),
    (re.compile(rb"[^:]*[ \t]:"), "whitespace before the colon"),
    (re.compile(rb"(?!" + TOKEN.encode() + rb":)"), "field name has a character that it must not have"),
    (re.compile(rb".*?[^\t -~\x80-\xff]", re.DOTALL), "control character in a field value"),
)


def fault_in_head(head: bytes) -> str:
    """The first fault of `head`, which is known not to match the grammar of a request head."""
    for pattern, text in _LINE_ENDS:
        if pattern.search(head) is not None:
            return text
    if not head.endswith(b"\r\n\r\n"):
        return "head does not end with an empty line"
    request_line, *field_lines = head[:-4].split(b"\r\n")
    fault = _first(_REQUEST_LINE, request_line)
    for line in field_lines:
        fault = fault or fault_in_field_line(line)
    return fault or "head is malformed"


def fault_in_field_line(line: bytes) -> str | None:
    """The first fault of one field line without its CRLF; None when there is none."""
    return _first(_FIELD_LINE, line)


def _first(faults: Iterable[tuple[re.Pattern[bytes], str]], line: bytes) -> str | None:
    return next((text for pattern, text in faults if pattern.match(line) is not None), None)
