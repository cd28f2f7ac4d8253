"""Single values of the configuration: how they are read, what is refused, and what is said to be allowed."""

import pytest

from edgeproxy.config.values import (
    Unfit,
    parse_address,
    parse_duration,
    parse_host_pattern,
    parse_origin,
    parse_size,
    show_duration,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("7d", 604_800.0),
        ("100ms", 0.1),
        ("1h30m", 5_400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        ("0s", 0.0),
        ("2w", 1_209_600.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["", "90", "s", "-1s", "1 s", "90S", "1y", "1s ", "٣s", 90, 1.5, True, None, ["1s"]])
def test_what_is_no_duration_is_refused_with_the_units_allowed(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_duration(value)
    assert caught.value.problem == "is not a duration"
    assert "ms, s, m, h, d or w" in caught.value.allowed


def test_a_duration_beyond_a_century_is_refused() -> None:
    with pytest.raises(Unfit, match="too long"):
        parse_duration("99999999d")


@pytest.mark.parametrize(
    ("text", "octets"), [("512MiB", 512 << 20), ("1GB", 10**9), ("0", 0), ("17B", 17), ("1.5KiB", 1536), ("2TiB", 2 << 40)]
)
def test_a_size_is_read(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("value", ["", "512", "MiB", "-1MiB", "1 MiB", "1mib", 512, True, None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(Unfit, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 90.0, 3_600.0, 604_800.0])
def test_a_shown_duration_reads_back(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == seconds


@pytest.mark.parametrize("octets", [0, 1, 1000, 1024, 5 << 20, 3 << 30])
def test_a_shown_size_reads_back(octets: int) -> None:
    assert parse_size(show_size(octets)) == octets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        (":80", ":80"),
        ("[::1]:0", "[::1]:0"),
        ("LocalHost:1", "localhost:1"),
        ("unix:/run/e.sock", "unix:/run/e.sock"),
    ],
)
def test_an_address_is_read(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "value",
    ["", "8080", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:http", "::1:80", "1.2.3:80", "[zz]:80", "a b:80", "unix:e", 80],
)
def test_what_is_no_address_is_refused(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_address(value)
    assert "HOST:PORT" in caught.value.allowed


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://Example.ORG/", "https://example.org"),
        ("http://[::1]:81", "http://[::1]:81"),
        ("http://not-there-yet.invalid", "http://not-there-yet.invalid"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_an_origin_is_read_though_its_name_need_not_resolve(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "value",
    [
        "",
        "example.org",
        "ftp://x",
        "http://",
        "http://h/path",
        "http://h?q",
        "http://u:p@h",
        "http://h:0",
        "http://h:99999",
        "http://[::1",
        "http://1.2.3",
        "unix:app.sock",
        "unix:/" + "x" * 200,
        5,
        None,
    ],
)
def test_what_is_no_origin_is_refused(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_origin(value)
    assert "https://HOST" in caught.value.allowed


@pytest.mark.parametrize(
    ("text", "host"),
    [("Example.ORG", "example.org"), ("*", "*"), ("*.a.org", "*.a.org"), ("::1", "[::1]"), ("192.0.2.1", "192.0.2.1")],
)
def test_a_host_is_read_in_lower_case(text: str, host: str) -> None:
    assert parse_host_pattern(text) == host


@pytest.mark.parametrize(
    "value", ["", "a.org:80", "http://a.org", "a..org", "*a.org", "a.*", "bücher.example", "1.2.3", ".org", "a.org.", 5]
)
def test_what_is_no_host_is_refused(value: object) -> None:
    with pytest.raises(Unfit, match="is not a host"):
        parse_host_pattern(value)
