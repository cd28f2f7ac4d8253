"""Secrets stay out of `url.query` and `url.full`."""

import pytest

from edgeproxy.telemetry.redaction import redacted_query, redacted_url


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("a=1&b=2", "a=1&b=2"),
        ("token=abc&a=1", "token=REDACTED&a=1"),
        ("X-Amz-Signature=f00&Sig=x", "X-Amz-Signature=REDACTED&Sig=REDACTED"),
        ("token", "token"),
        ("a=token", "a=token"),
        ("", ""),
        ("password=a=b&&", "password=REDACTED&&"),
    ],
)
def test_query(query: str, shown: str) -> None:
    assert redacted_query(query) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1/a?b=1", "http://h:1/a?b=1"),
        ("http://user:pw@h/a", "http://h/a"),
        ("http://user:p@w@h/a?sig=1#x", "http://h/a?sig=REDACTED"),
        ("http://h/a@b", "http://h/a@b"),
        ("/a?key=1", "/a?key=REDACTED"),
    ],
)
def test_url(url: str, shown: str) -> None:
    assert redacted_url(url) == shown
