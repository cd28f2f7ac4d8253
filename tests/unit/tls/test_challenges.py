"""Whatever process presents, every process answers, and nobody is led outside the folder."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from edgeproxy.errors import StoreError
from edgeproxy.tls.challenges import Challenges

TOKEN = "abcXYZ_-0123456789"


@pytest.fixture
def challenges(tmp_path: Path) -> Challenges:
    challenges = Challenges(tmp_path)
    challenges.open()
    return challenges


async def test_a_token_is_answered_by_every_process_until_it_is_withdrawn(challenges, tmp_path):
    await challenges.present_http(TOKEN, "the.answer")
    other = Challenges(tmp_path)
    assert challenges.http_answer(TOKEN) == other.http_answer(TOKEN) == b"the.answer"
    code = "import sys; from pathlib import Path; from edgeproxy.tls.challenges import Challenges; "
    code += "print(Challenges(Path(sys.argv[1])).http_answer(sys.argv[2]))"
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path), TOKEN], capture_output=True, text=True, check=True)
    assert said.stdout == "b'the.answer'\n"
    await challenges.withdraw_http(TOKEN)
    assert challenges.http_answer(TOKEN) is other.http_answer(TOKEN) is None


@pytest.mark.parametrize(
    ("name", "sni"),
    [
        ("www.example.com", "www.example.com"),
        ("WWW.Example.com", "www.EXAMPLE.com"),
        ("127.0.0.1", "1.0.0.127.in-addr.arpa"),
        ("::1", "1" + ".0" * 31 + ".ip6.arpa"),
    ],
)
async def test_a_handshake_is_answered_by_every_process_under_the_name_that_is_sent(challenges, tmp_path, name, sni):
    await challenges.present_alpn(name, "token.thumbprint")
    for one in (challenges, Challenges(tmp_path)):
        chain, key = one.alpn_certificate(sni)
        assert one.alpn_certificate(sni) == (chain, key), "made once"
        assert key.startswith(b"-----BEGIN PRIVATE KEY-----")
        leaf = x509.load_pem_x509_certificate(chain)
        assert leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")).critical
    assert challenges.is_presented(name)
    await challenges.withdraw_alpn(name)
    assert challenges.alpn_certificate(sni) is None
    assert not challenges.is_presented(name)


async def test_a_new_answer_for_a_name_replaces_the_old_one(challenges):
    await challenges.present_alpn("a.example", "one.one")
    first = challenges.alpn_certificate("a.example")
    await challenges.present_alpn("a.example", "two.two")
    assert challenges.alpn_certificate("a.example") != first


@pytest.mark.parametrize("token", ["", ".", "..", "../alpn/a", "a/b", "a\0b", "a" * 129, "ä", "a.b", "a b", "a\n"])
async def test_what_is_no_token_is_neither_answered_nor_presented(challenges, token):
    assert challenges.http_answer(token) is None
    with pytest.raises(StoreError):
        await challenges.present_http(token, "x")


@pytest.mark.parametrize("sni", ["", ".", "..", "../http/a", "a/b", "a\0b", "a" * 300, "ä.example", "a b"])
async def test_what_is_no_name_is_not_answered(challenges, sni):
    assert challenges.alpn_certificate(sni) is None


async def test_only_the_owner_may_read_and_a_new_leader_clears_what_was_left(challenges, tmp_path):
    await challenges.present_http(TOKEN, "x")
    await challenges.present_alpn("a.example", "y")
    for path in (tmp_path / "challenges").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    await Challenges(tmp_path).clear()
    assert Challenges(tmp_path).http_answer(TOKEN) is None
    assert [path for path in (tmp_path / "challenges").rglob("*") if path.is_file()] == []


async def test_presenting_without_a_folder_is_an_error_of_the_store(tmp_path):
    with pytest.raises(StoreError):
        await Challenges(tmp_path / "nowhere").present_http(TOKEN, "x")
