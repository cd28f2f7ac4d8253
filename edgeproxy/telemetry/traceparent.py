"""The `traceparent` field (W3C Trace Context, section 3.2): who caused this exchange, and is that recorded.

Owns: reading and writing the field. Must not decide whether to sample.
"""

import re
from dataclasses import dataclass

from edgeproxy.wire.fields import Fields

SAMPLED = 0x01
RANDOM = 0x02
"""The low 7 octets of the trace id are random (Trace Context level 2); the other bits mean nothing yet and are dropped."""

_FIELD = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class Traceparent:
    """A valid traceparent. `trace_id` is 32 and `span_id` 16 lower-case hex digits; `flags` is one octet."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse_traceparent(value: str) -> Traceparent | None:
    """The caller's span, or None when the value is not valid: then it is as if it were not there (section 3.2.2).

    A version above 00 is read by its first four members; version ff is forbidden.
    """
    match = _FIELD.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Traceparent(trace_id, span_id, int(flags, 16))


def traceparent_of(fields: Fields) -> Traceparent | None:
    """The one valid traceparent of a message; several lines of it are none (section 3.2.1)."""
    values = fields.all("traceparent")
    return parse_traceparent(values[0]) if len(values) == 1 else None
