"""One client is one network, in whatever way its address is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.wire.clients import LONGEST, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::4", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a:b", "a:b"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


@given(st.text(max_size=300))
def test_no_text_is_an_error(text: str) -> None:
    assert len(client_of(text)) <= LONGEST
