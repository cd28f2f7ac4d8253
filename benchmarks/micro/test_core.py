"""What the pure steps of an exchange cost. `python -m pytest benchmarks/micro` prints the table."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.origin import text
from edgeproxy.caching.directives import response_directives
from edgeproxy.caching.freshness import fresh_until
from edgeproxy.caching.key import KeyRules, primary_key
from edgeproxy.caching.model import Digest, Height, Policy, Revalidate, Serve, StoredResponse
from edgeproxy.caching.plan import plan
from edgeproxy.caching.preconditions import NotModified, evaluate
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Place, decode, seal
from edgeproxy.ledger.chunks import BodyHasher
from edgeproxy.ledger.digests import ZERO, sha256, site_salt
from edgeproxy.ledger.drafts import StoreDraft
from edgeproxy.ledger.merkle import MerkleFrontier, leaf_hash, root_of
from edgeproxy.ledger.verify import measure_body, verify_body, verify_stored
from edgeproxy.wire.chunked import ChunkedDecoder, encode_chunk
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits, encode_response_head, encode_stored_head, parse_request_head
from edgeproxy.wire.negotiate import select_coding
from edgeproxy.wire.structured import parse_dictionary

HEAD = (
    b"GET /catalogue/shoes?colour=red&size=42&utm_source=letter HTTP/1.1\r\n"
    b"Host: shop.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b'If-None-Match: "33a64df551425fcc55e4d42a148795d9f25f89d4"\r\n'
    b"Connection: keep-alive\r\n\r\n"
)
NOW = Instant(1_764_000_000_000)
FIELDS = Fields(
    (
        ("Date", "Mon, 24 Nov 2025 16:00:00 GMT"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "public, max-age=600, stale-while-revalidate=30"),
        ("ETag", '"33a64df551425fcc55e4d42a148795d9f25f89d4"'),
        ("Last-Modified", "Sat, 01 Nov 2025 00:00:00 GMT"),
        ("Surrogate-Key", "catalogue shoes"),
    )
)
BODY, VERIFIED = measure_body(text(10_240))
URL = "http://shop.example/catalogue/shoes"
STORED = StoredResponse(URL, 200, FIELDS, NOW, 0, BODY.digest, BODY.length)
SALT = bytes(range(32))
PLACE = Place(Height(17), ZERO, NOW, "edge-1")
DRAFT = StoreDraft("store", "shop.example", URL, (), 200, encode_stored_head(200, FIELDS), BODY, NOW, "0123456789abcdef" * 2)
POLICY = Policy()


LIMITS = Limits()
REQUEST = parse_request_head(HEAD, LIMITS)


def test_parse_request_head(benchmark: BenchmarkFixture) -> None:
    assert benchmark(parse_request_head, HEAD, LIMITS).host == "shop.example"


def test_encode_response_head(benchmark: BenchmarkFixture) -> None:
    assert benchmark(encode_response_head, 200, FIELDS).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rules", [KeyRules(), KeyRules(("utm_*", "fbclid"))], ids=["whole query", "parameters ignored"])
def test_primary_key(benchmark: BenchmarkFixture, rules: KeyRules) -> None:
    assert "shop.example" in benchmark(primary_key, REQUEST.url, rules)


def test_plan_fresh(benchmark: BenchmarkFixture) -> None:
    assert isinstance(benchmark(plan, REQUEST, STORED, Instant(NOW + 60_000), POLICY), Serve)


def test_plan_stale(benchmark: BenchmarkFixture) -> None:
    assert isinstance(benchmark(plan, REQUEST, STORED, Instant(NOW + 900_000), POLICY), Revalidate)


def test_response_directives(benchmark: BenchmarkFixture) -> None:
    assert benchmark(response_directives, FIELDS, POLICY.targets) is not None


def test_fresh_until(benchmark: BenchmarkFixture) -> None:
    assert benchmark(fresh_until, STORED, POLICY) == NOW + 600_000


def test_preconditions(benchmark: BenchmarkFixture) -> None:
    def judge() -> object:
        return evaluate(REQUEST, status=200, etag=FIELDS.get("etag"), last_modified=None, length=BODY.length, now=NOW)

    assert isinstance(benchmark(judge), NotModified)


def test_select_coding(benchmark: BenchmarkFixture) -> None:
    assert benchmark(select_coding, "gzip, deflate, br, zstd", ("identity", "br", "zstd", "gzip")) == "br"


def test_structured_dictionary(benchmark: BenchmarkFixture) -> None:
    assert benchmark(parse_dictionary, ("max-age=600, stale-if-error=86400, must-revalidate",)) is not None


def test_chunked_decoder(benchmark: BenchmarkFixture) -> None:
    coded = b"".join(encode_chunk(text(4096)) for _ in range(16)) + b"0\r\n\r\n"

    def decode_all() -> int:
        decoder = ChunkedDecoder()
        return sum(map(len, decoder.feed(coded)))

    assert benchmark(decode_all) == 16 * 4096


def test_seal_block(benchmark: BenchmarkFixture) -> None:
    assert benchmark(seal, PLACE, DRAFT, SALT).height == 17


def test_decode_block(benchmark: BenchmarkFixture) -> None:
    raw = seal(PLACE, DRAFT, SALT).raw
    assert benchmark(decode, raw).height == 17


def test_verify_stored(benchmark: BenchmarkFixture) -> None:
    block = seal(PLACE, DRAFT, SALT)
    salt = site_salt(SALT, "shop.example")
    assert benchmark(verify_stored, block.raw, block.leaf, DRAFT.head, URL, (), salt).value.height == 17


def test_verify_body_10_kb(benchmark: BenchmarkFixture) -> None:
    assert benchmark(verify_body, BODY, VERIFIED.value).value == VERIFIED.value


def test_hash_body_of_1_mb_with_its_chunks(benchmark: BenchmarkFixture) -> None:
    data = text(1_000_000)

    def measure() -> Digest | None:
        hasher = BodyHasher()
        hasher.update(data)
        return hasher.finish().chunks

    assert benchmark(measure) is not None


def test_merkle_append(benchmark: BenchmarkFixture) -> None:
    frontier = MerkleFrontier()
    leaf = leaf_hash(b"block")
    benchmark(frontier.append, leaf)
    assert frontier.root()


def test_merkle_root_of_1000(benchmark: BenchmarkFixture) -> None:
    leaves = [sha256(number.to_bytes(4, "big")) for number in range(1000)]
    assert len(benchmark(root_of, leaves)) == 32
