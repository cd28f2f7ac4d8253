"""What becomes of bodies with a batch: durable before the block that names them, deleted after the one that lets them go.

Owns: that order. Must not decide what is stored or evicted, and knows nothing of how a batch is committed.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from edgeproxy.caching.model import Digest
from edgeproxy.errors import StoreError
from edgeproxy.ledger.drafts import BodyRef, EraseDraft, EvictDraft, StoreDraft
from edgeproxy.ledger.fold import Fold
from edgeproxy.sequencer.sealing import Waiting

log = logging.getLogger("edgeproxy.sequencer")


class Bodies(Protocol):
    """What the sequencer needs of the body store."""

    async def make_durable(self, refs: Sequence[BodyRef]) -> None: ...

    def exists(self, digest: Digest) -> bool: ...

    async def delete(self, digest: Digest) -> object: ...


async def make_durable(bodies: Bodies, batch: list[Waiting]) -> tuple[list[Waiting], StoreError | None]:
    """Those of `batch` that may become blocks, and what went wrong; the others have failed with that."""
    refs = {draft.body.digest: draft.body for waiting in batch if isinstance(draft := waiting.draft, StoreDraft)}
    if not refs:
        return batch, None
    try:
        # Crash in it: bodies that no block names, removed or found again by the next start.
        await bodies.make_durable(list(refs.values()))
        return batch, None
    except StoreError as error:
        failure = error
        log.error("bodies could not be made durable: %s", error)
    ready = []
    for waiting in batch:
        draft = waiting.draft
        if isinstance(draft, StoreDraft) and not bodies.exists(draft.body.digest):
            waiting.fail(failure)
        else:
            ready.append(waiting)
    return ready, failure


async def delete_released(bodies: Bodies, batch: Sequence[Waiting], fold: Fold) -> None:
    """Delete bodies that a committed batch evicted or erased, before any other batch makes one durable.

    Crash before: a body that nothing names, which the next start deletes. A body stored again in the same batch stays.
    """
    for waiting in batch:
        draft = waiting.draft
        going = (draft.body,) if isinstance(draft, EvictDraft) else draft.bodies if isinstance(draft, EraseDraft) else ()
        for body in going:
            if body in fold.gone:
                try:
                    await bodies.delete(body)
                except StoreError as error:
                    log.error("body that is to go could not be deleted: %s", error)
