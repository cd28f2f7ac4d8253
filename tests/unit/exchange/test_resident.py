"""Ready answers: what changes from second to second, as bytes and as a field block."""

import pytest

from edgeproxy.caching.model import Reason
from edgeproxy.exchange.resident import Answer
from edgeproxy.wire.hpack import encode_fields
from tests.support.caching import NOW, after, stored


@pytest.mark.parametrize("reason", [Reason.FRESH, Reason.ROLLBACK])
@pytest.mark.parametrize(("second", "ttl"), [(7, 53), (90, -30)])
def test_an_answer_says_its_age_its_freshness_and_why_it_may_be_sent(reason: Reason, second: int, ttl: int) -> None:
    answer = Answer(stored(), b"HTTP/1.1 200 OK\r\nA: b\r\n", b"body", after(60), b"", reason)
    now = NOW // 1000 + second
    told = f"edgeproxy;hit;ttl={ttl};detail={reason.value}"
    head = b"HTTP/1.1 200 OK\r\nA: b\r\nAge: %d\r\nCache-Status: %b\r\n\r\n" % (second, told.encode())
    assert answer.at(now) == (head, b"body")
    assert answer.block_at(now).endswith(encode_fields((("age", str(second)), ("cache-status", told))))
