"""The public HTTP/1.1 vectors, as far as head and body framing alone decide them (the rest runs over a real edge)."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.chunked import ChunkedDecoder
from edgeproxy.wire.http1 import Limits, parse_request_head
from edgeproxy.wire.messages import CHUNKED

VECTORS = json.loads((Path(__file__).parents[2] / "conformance" / "http11-vectors.json").read_text())["vectors"]

UNDECIDED = "waits for more bytes"

BY_HAND = {
    # what the vectors leave open, or word in a way that only a whole edge can satisfy, is fixed here
    "RFC9112-2.2-BARE-LF-REQUEST-LINE": 400,
    "RFC9112-2.2-BARE-LF-HEADER": 400,
    "RFC9112-3-MULTI-SP-REQUEST-LINE": 400,
    "RFC9112-2.3-INVALID-VERSION": 505,
    "RFC9112-3.2-FRAGMENT-IN-TARGET": 400,
    "RFC9112-2.3-HTTP09-REQUEST": 400,
    "COMP-UNKNOWN-TE-501": 501,
    "COMP-METHOD-CONNECT": 501,
    "COMP-EXPECT-UNKNOWN": 417,
    "COMP-REQUEST-LINE-TAB": 400,
    "COMP-TRACE-WITH-BODY": 400,
    "COMP-POST-CL-UNDERSEND": UNDECIDED,
    "COMP-CHUNKED-NO-FINAL": UNDECIDED,
    "COOK-OVERSIZED": 431,
    "COOK-NUL": 400,
    "COOK-CONTROL-CHARS": 400,
    "NORM-UNDERSCORE-CL": 400,
    "NORM-SP-BEFORE-COLON-CL": 400,
    "NORM-TAB-IN-NAME": 400,
    "NORM-CASE-TE": 400,
    "NORM-UNDERSCORE-TE": 400,
}
"""Every other vector that is not `Exact(400)` is to be accepted, whatever the origin then makes of it."""


def outcome(raw: bytes) -> int | str:
    """200 for a request that is accepted and whole, the status of the refusal, or that more bytes are needed."""
    raw = re.sub(rb"\A(?:\r\n)+", b"", raw)  # the connection skips empty lines before a request
    end = raw.find(b"\r\n\r\n") + 4 or len(raw)
    end = end if end > 3 else len(raw)
    try:
        request = parse_request_head(raw[:end], Limits())
        body = raw[end:]
        if request.body_length != CHUNKED:
            return 200 if len(body) >= request.body_length else UNDECIDED
        decoder = ChunkedDecoder()
        decoder.feed(body)
        return 200 if decoder.done else UNDECIDED
    except RequestRefused as refused:
        return refused.status


def expected(vector: dict[str, Any]) -> int | str:
    if vector["expect_status"] == "Exact(400)":
        return 400
    return BY_HAND.get(vector["id"], 200)


def test_vectors_are_all_there() -> None:
    assert len(VECTORS) == 96
    assert BY_HAND.keys() <= {vector["id"] for vector in VECTORS}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    for connection in vector["steps"]:
        raw = b"".join(base64.b64decode(step["b64"]) for step in connection)
        want = expected(vector) if connection is vector["steps"][-1] else 200
        assert outcome(raw) == want, vector["desc"]


UPGRADES = [vector for vector in VECTORS if vector["id"].startswith("COMP-UPGRADE-")]


@pytest.mark.parametrize("vector", UPGRADES, ids=[vector["id"] for vector in UPGRADES])
def test_upgrades_that_must_not_be(vector: dict[str, Any]) -> None:
    """POST, HTTP/1.0 and no Connection: decided here. An unknown protocol or version is the origin's to decline."""
    raw = base64.b64decode(vector["steps"][-1][0]["b64"])
    request = parse_request_head(raw[: raw.index(b"\r\n\r\n") + 4], Limits())
    passes = vector["id"] in {"COMP-UPGRADE-UNKNOWN", "COMP-UPGRADE-INVALID-VER"}
    assert (request.upgrade is not None) is passes
