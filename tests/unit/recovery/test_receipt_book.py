"""Receipts on their way into the ledger: how many become blocks, and whose."""

import asyncio
import json
import uuid
from pathlib import Path

from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Height
from edgeproxy.clock import ManualClock
from edgeproxy.ledger.block import Block, Place, seal
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import ReceiptDraft
from edgeproxy.ledger.fold import Fold
from edgeproxy.recovery.receipt_book import BLOCKS, BLOCKS_OF_ONE, ReceiptBook
from edgeproxy.recovery.receipts import MAX_RECEIPTS

HOST = "example.org"


class Ledger:
    """Takes every draft at once."""

    def __init__(self) -> None:
        self.fold = Fold(bytes(32))
        self.drafts: list[ReceiptDraft] = []

    def append(self, draft: ReceiptDraft) -> asyncio.Future[Block]:
        self.drafts.append(draft)
        done = asyncio.get_running_loop().create_future()
        done.set_result(seal(Place(Height(len(self.drafts)), ZERO, draft.time, "n"), draft, bytes(32)))
        return done


class Node:
    """A book, and browsers that post to it."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.clock = Ledger(), ManualClock()
        self.book = ReceiptBook(folder, self.clock, self.ledger)
        self.book.start()
        self.urls = 0

    def post(self, address: str, *, same: bool = False) -> dict[str, int]:
        """As many receipts as go in one request, each for another URL unless all are for the `same` one."""
        receipts = []
        for _ in range(MAX_RECEIPTS):
            self.urls += not same
            said = {"id": str(uuid.uuid4()), "url": f"https://{HOST}/{self.urls}", "source": "none", "cause": "network"}
            receipts.append({**said, "block": None, "served": self.clock.now()})
        body = json.dumps({"token": self.book.token(HOST), "receipts": receipts}).encode()
        counts = self.book.post(
            body, address=address, site=HOST, host=HOST, keys=KeyRules(), is_of_site=lambda host: host == HOST
        )
        assert counts is not None
        return counts


async def test_one_client_alone_cannot_take_the_blocks_of_all(tmp_path: Path) -> None:
    node = Node(tmp_path)
    taken = sum(node.post("192.0.2.1")["accepted"] for _ in range(30))
    assert taken == BLOCKS_OF_ONE.burst
    assert node.post("192.0.2.2")["accepted"] == MAX_RECEIPTS
    taken += MAX_RECEIPTS + sum(node.post(f"198.51.100.{number}")["accepted"] for number in range(30))
    assert taken == BLOCKS.burst, "and all together have a bound too"
    await node.book.stop()
    assert len(node.ledger.drafts) == taken


async def test_equal_receipts_are_one_block_with_their_count(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert node.post("192.0.2.1", same=True) == {"accepted": MAX_RECEIPTS, "duplicate": 0, "refused": 0}
    await node.book.stop()
    assert [draft.count for draft in node.ledger.drafts] == [MAX_RECEIPTS]
