"""The account on disk: damaged, taken away, unwritable, made by two at once, cut off in the middle."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls.acme.account import account_folder
from edgeproxy.tls.acme.issuer import Authority, Issuer
from tests.support.acme_stub import AcmeStub, lose_answer
from tests.support.challenge_servers import HttpAnswers

CLOCK = ManualClock()


@pytest.fixture
async def stub() -> AsyncIterator[AcmeStub]:
    async with AcmeStub(CLOCK, validating=False).running() as running:
        yield running


def issuer(stub: AcmeStub, folder: Path, email: str = "") -> Issuer:
    return Issuer(Authority(stub.directory, email=email), folder, {"http-01": HttpAnswers()}, CLOCK)


async def obtain(stub: AcmeStub, folder: Path, email: str = "") -> None:
    made = issuer(stub, folder, email)
    try:
        await made.obtain(["a.test"])
    finally:
        await made.close()


async def test_the_account_is_used_again_after_a_restart(stub: AcmeStub, tmp_path: Path) -> None:
    await obtain(stub, tmp_path)
    await obtain(stub, tmp_path)
    assert stub.count("newAccount") == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 5}', '{"url": ""}'])
async def test_a_damaged_url_is_asked_for_again(stub: AcmeStub, tmp_path: Path, text: str) -> None:
    await obtain(stub, tmp_path)
    file = account_folder(tmp_path, stub.directory, "") / "account.json"
    good = file.read_text()
    file.write_text(text)
    await obtain(stub, tmp_path)
    assert file.read_text() == good
    assert len(stub.accounts) == 1


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", bytes(200)])
async def test_a_damaged_key_is_put_aside_and_a_new_account_made(stub: AcmeStub, tmp_path: Path, data: bytes) -> None:
    await obtain(stub, tmp_path)
    folder = account_folder(tmp_path, stub.directory, "")
    (folder / "key.pem").write_bytes(data)
    await obtain(stub, tmp_path)
    assert (folder / "key.unreadable").read_bytes() == data
    assert len(stub.accounts) == 2
    await obtain(stub, tmp_path)
    assert len(stub.accounts) == 2


async def test_each_address_and_directory_has_its_account(stub: AcmeStub, tmp_path: Path) -> None:
    await obtain(stub, tmp_path, "one@example.com")
    await obtain(stub, tmp_path, "two@example.com")
    assert len(stub.accounts) == 2
    contacts = [logged.payload["contact"] for logged in stub.log if logged.step == "newAccount"]
    assert contacts == [["mailto:one@example.com"], ["mailto:two@example.com"]]


async def test_an_account_whose_answer_was_lost_is_found_by_its_key(stub: AcmeStub, tmp_path: Path) -> None:
    stub.plan("newAccount", lose_answer)
    with pytest.raises(IssuanceFailed):
        await obtain(stub, tmp_path)
    await obtain(stub, tmp_path)
    assert len(stub.accounts) == 1


async def test_two_that_start_at_once_share_one_account(stub: AcmeStub, tmp_path: Path) -> None:
    await asyncio.gather(*(obtain(stub, tmp_path) for _ in range(4)))
    assert len(stub.accounts) == 1
    folder = account_folder(tmp_path, stub.directory, "")
    assert sorted(path.name for path in folder.iterdir()) == ["account.json", "key.pem"]
    assert json.loads((folder / "account.json").read_text())["url"] in stub.accounts


async def test_an_account_that_cannot_be_kept_is_not_made(stub: AcmeStub, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("in the way")
    with pytest.raises(IssuanceFailed) as failed:
        await obtain(stub, tmp_path)
    assert (failed.value.problem, failed.value.retry) == ("badAccount", Retry.OPERATOR)
    assert stub.count("newAccount") == 0
