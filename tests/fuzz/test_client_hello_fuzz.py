"""Whatever a client says first, it is read, waited for or refused; and read the same however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import HelloRefused
from edgeproxy.wire.client_hello import PEEK_BYTES, Alert, ClientHello, NeedMore, parse_client_hello
from tests.support.hellos import extension, hello, message, ordinary, record, records, server_name, versions

names = st.sampled_from([b"a.test", b"A.Test.", b"*.a", b"1.2.3.4", b"", b"a..b", b"x" * 64, b"a\0b"]) | st.binary(max_size=12)
bodies = (
    names.map(server_name)
    | st.sampled_from([b"\0\3\2h2", b"\0\x0b\x0aacme-tls/1", b"\0\0", versions([0x0304]), b"\2\3\4", b""])
    | st.binary(max_size=12)
)
extensions = st.lists(st.builds(extension, st.sampled_from([0, 16, 43, 10, 0x0A0A, 51]), bodies), max_size=5)
hellos = st.builds(
    lambda found, session_id, suites, more: hello(*found, session_id=session_id, suites=suites, with_extensions=more),
    extensions,
    st.sampled_from([b"", bytes(32), bytes(33)]),
    st.sampled_from([b"\x13\x01", b"", b"\x13"]) | st.just(b"\x13\x01\x13\x02"),
    st.booleans(),
)
messages = hellos | st.just(ordinary()) | st.builds(message, st.binary(max_size=80))
cuts = st.lists(st.integers(1, 90), max_size=8)
flights = st.builds(records, messages, cuts)
damaged = st.builds(
    lambda data, at, new: data[: at % (len(data) + 1)] + new + data[at % (len(data) + 1) + len(new) :],
    flights,
    st.integers(0, 400),
    st.binary(min_size=1, max_size=3),
)


def outcome(data: bytes) -> ClientHello | NeedMore | tuple[str, object]:
    try:
        return parse_client_hello(data)
    except HelloRefused as error:
        refusal = (error.text, error.alert)
    assert refusal[1] is None or refusal[1] in list(Alert)
    return refusal


@given(st.binary(max_size=300) | flights | damaged)
def test_anything_ends_in_a_decision(data: bytes) -> None:
    found = outcome(data)
    if isinstance(found, NeedMore):
        assert found.count > 0
        assert len(data) + found.count <= PEEK_BYTES
    if isinstance(found, ClientHello) and found.server_name is not None:
        assert found.server_name == found.server_name.lower()
        assert 0 < len(found.server_name) <= 253


@given(messages, cuts)
def test_cuts_change_nothing(whole: bytes, sizes: list[int]) -> None:
    assert outcome(records(whole, sizes)) == outcome(record(whole))


@given(flights | damaged, st.binary(max_size=40))
def test_what_is_decided_stays_decided(data: bytes, more: bytes) -> None:
    """A decision on a part is the decision on the whole; otherwise a client could change it by its timing."""
    for have in range(len(data)):
        early = outcome(data[:have])
        if not isinstance(early, NeedMore):
            assert outcome(data) == early
            break
        assert have + early.count <= len(data) or isinstance(outcome(data), NeedMore)
    final = outcome(data)
    if not isinstance(final, NeedMore):
        assert outcome(data + more) == final
