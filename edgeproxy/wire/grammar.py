"""The small grammar that all fields share: tokens, field lines, comma lists (RFC 9110 section 5.6, RFC 9112 section 5).

Owns: the patterns, as text over latin-1 decoded bytes. Must not know what any field means.
"""

import re
from collections.abc import Iterable, Sequence

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""Pattern of a token (RFC 9110 section 5.6.2)."""

VALUE = r"[\t -~\x80-\xff]*+"
"""Pattern of a field value with the whitespace around it: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5)."""

QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
"""Pattern of a quoted-string (RFC 9110 section 5.6.4)."""

FIELD_LINE = rf"{TOKEN}:{VALUE}\r\n"
"""Pattern of one field line; no folding, no whitespace before the colon, CRLF and nothing else ends it."""

_token = re.compile(TOKEN).fullmatch
_safe_lines = re.compile(rf"(?:{TOKEN}: [^\r\n\0]*+\r\n)*+").fullmatch
_split_lines = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n").findall


def is_token(text: str) -> bool:
    """Whether `text` is a token, and so fit to be a method or a field name."""
    return _token(text) is not None


def split_field_lines(block: str) -> list[tuple[str, str]]:
    """Names and values, without the whitespace around them, of a `block` of lines that match `FIELD_LINE`."""
    lines: list[tuple[str, str]] = _split_lines(block)
    if " \r" in block or "\t\r" in block:
        return [(name, value.rstrip(" \t")) for name, value in lines]
    return lines


def encode_field_lines(lines: Sequence[tuple[str, str]]) -> bytes:
    """`lines` as HTTP/1 writes them, each ended by CRLF.

    Raises ValueError when a name is no token, or a value holds CR, LF, NUL, or anything outside latin-1: it would be read as
    other fields than were meant, or as the end of the head (RFC 9112 section 11.1).
    """
    text = "".join([f"{name}: {value}\r\n" for name, value in lines])
    if _safe_lines(text) is None or text.count("\n") != len(lines) or ":" in "".join([name for name, _ in lines]):
        raise ValueError("field is not safe to send")
    return text.encode("latin-1")


def token_list(values: Iterable[str]) -> list[str]:
    """The tokens of `#token` field lines, in lower case and in order; members that are no token are left out."""
    return [token for value in values for member in value.split(",") if is_token(token := member.strip(" \t").lower())]
