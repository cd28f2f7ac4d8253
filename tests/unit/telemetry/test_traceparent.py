"""W3C Trace Context, section 3.2: which fields are a caller's span."""

import pytest

from edgeproxy.telemetry.traceparent import Traceparent, parse_traceparent, traceparent_of
from edgeproxy.wire.fields import Fields

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", 1, id="3.2.2.5 sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", 0, id="3.2.2.5 not sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-fe", 0xFE, id="3.2.2.5 other flags do not mean sampled"),
        pytest.param(f"01-{TRACE}-{SPAN}-01-future", 1, id="3.2.4 higher version with more members"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", 1, id="3.2.4 higher version"),
    ],
)
def test_valid_fields_are_read(value: str, flags: int) -> None:
    assert parse_traceparent(value) == Traceparent(TRACE, SPAN, flags)
    assert parse_traceparent(value).sampled == bool(flags & 1)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="3.2.2.1 version ff"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="3.2.2.3 trace id all zero"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="3.2.2.4 parent id all zero"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="3.2.2.3 upper case"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", id="3.2.4 version 00 has no more members"),
        pytest.param(f"01-{TRACE}-{SPAN}-01more", id="3.2.4 more members begin with a dash"),
        pytest.param(f"00-{TRACE}-{SPAN}-1", id="short flags"),
        pytest.param(f"00-{TRACE[:-1]}-{SPAN}-01", id="short trace id"),
        pytest.param(f" 00-{TRACE}-{SPAN}-01", id="space before"),
        pytest.param(f"00-{TRACE}-{SPAN}-01\n", id="line end after"),
    ],
)
def test_invalid_fields_are_as_if_absent(value: str) -> None:
    assert parse_traceparent(value) is None


def test_two_lines_are_none() -> None:
    line = ("traceparent", f"00-{TRACE}-{SPAN}-01")
    assert traceparent_of(Fields([line])) is not None
    assert traceparent_of(Fields([line, line])) is None
    assert traceparent_of(Fields()) is None


def test_it_writes_what_it_read() -> None:
    assert str(Traceparent(TRACE, SPAN, 1)) == f"00-{TRACE}-{SPAN}-01"
