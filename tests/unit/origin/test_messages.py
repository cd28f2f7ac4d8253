"""Where an origin is, from its configured URL."""

import pytest

from edgeproxy.origin.messages import Origin


@pytest.mark.parametrize(
    ("url", "scheme", "address"),
    [
        ("http://origin.example", "http", ("origin.example", 80)),
        ("HTTP://Origin.Example:8080/", "http", ("origin.example", 8080)),
        ("https://origin.example", "https", ("origin.example", 443)),
        ("https://[::1]:8443", "https", ("::1", 8443)),
        ("unix:/run/app.sock", "unix", ("/run/app.sock", 0)),
        ("unix:///run/app.sock", "unix", ("/run/app.sock", 0)),
    ],
)
def test_scheme_and_address(url: str, scheme: str, address: tuple[str, int]) -> None:
    assert (Origin(url).scheme, Origin(url).address) == (scheme, address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "origin.example",
        "ftp://a",
        "http://",
        "http://a/path",
        "http://a?b",
        "http://u:p@a",
        "http://a:99999",
        "http://a:b",
        "unix:",
        "unix:relative",
    ],
)
def test_what_is_no_origin_is_refused_with_what_is(url: str) -> None:
    with pytest.raises(ValueError, match=r"origin|[Pp]ort"):
        Origin(url)
