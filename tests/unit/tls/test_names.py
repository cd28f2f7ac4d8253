"""Names and addresses in the form in which they are compared."""

import pytest

from edgeproxy.tls.names import normal_address, normal_name, wildcard_of


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("a.test", None),
        ("192.0.2.300", None),
        ("", None),
    ],
)
def test_addresses(text: str, normal: str | None) -> None:
    assert normal_address(text) == normal


@pytest.mark.parametrize(
    ("text", "normal"), [("A.Test.", "a.test"), ("*.A.test", "*.a.test"), ("[::0001]", "::1"), ("a.test", "a.test")]
)
def test_names(text: str, normal: str) -> None:
    assert normal_name(text) == normal


@pytest.mark.parametrize(
    ("name", "wildcard"), [("a.b.test", "*.b.test"), ("b.test", "*.test"), ("localhost", None), ("a.", None), ("", None)]
)
def test_one_label_is_replaced(name: str, wildcard: str | None) -> None:
    assert wildcard_of(name) == wildcard
