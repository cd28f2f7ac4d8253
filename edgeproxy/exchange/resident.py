"""A stored response in memory, and its ready answers.

Owns: what a hot hit needs, prepared: the forms of the body and, for each shape of request, the response head, of which only
`Age` and the `ttl` change, once a second. Must not look anything up and must not decide; who asks has decided already.
"""

from functools import lru_cache

from edgeproxy.caching.model import Mark, Reason, StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.exchange import heads
from edgeproxy.exchange.heads import Form
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.ledger.verify import Verified
from edgeproxy.wire.hpack import encode_fields, encode_status
from edgeproxy.wire.http1 import decode_stored_head
from edgeproxy.wire.http2 import response_lines

MAX_ANSWERS = 32
"""Shapes kept ready for one response; more than this is a client playing games, and they start over."""

JOINED_LIMIT = 65_536
HOT = 4
"""Repeats within a second after which head and body are joined."""


ALWAYS = Instant(2**62)
"""`fresh_until` of what a rollback pins: no clock ends it."""


@lru_cache(maxsize=8192)
def _end_of_head(age: int, ttl: int, detail: Reason = Reason.FRESH) -> bytes:
    """What changes from second to second. Many responses have the same: those of one age and lifetime."""
    return b"Age: %d\r\nCache-Status: edgeproxy;hit;ttl=%d;detail=%b\r\n\r\n" % (age, ttl, detail.encode())


class Answer:
    """One ready answer: everything but `Age` and `ttl` is fixed. `detail` is why it may be sent."""

    __slots__ = (
        "again",
        "block",
        "block_lead",
        "block_second",
        "body",
        "born",
        "detail",
        "fresh_until",
        "initial_age",
        "lead",
        "length",
        "log_suffix",
        "ready",
        "second",
    )

    def __init__(
        self,
        stored: StoredResponse,
        lead: bytes,
        body: bytes,
        fresh_until: Instant,
        log_suffix: bytes,
        detail: Reason = Reason.FRESH,
    ) -> None:
        self.born = stored.response_time // 1000
        self.detail = detail
        self.initial_age = stored.initial_age
        self.fresh_until = fresh_until // 1000
        self.lead = lead
        self.body = body
        self.length = len(body)
        self.second = -1
        self.again = 0
        self.ready: bytes | tuple[bytes, bytes] = b""
        self.block_lead = self.block = b""
        self.block_second = -1
        self.log_suffix = log_suffix if log_suffix.startswith(b",") else b"," + log_suffix

    def at(self, second: int) -> bytes | tuple[bytes, bytes]:
        """The bytes to send during this second of the wall clock."""
        if second != self.second:
            head = self.lead + _end_of_head(self.initial_age + max(0, second - self.born), self.fresh_until - second, self.detail)
            self.ready = (head, self.body) if self.body else head
            self.second = second
            self.again = 0
        elif self.again < HOT:
            self.again += 1
            if self.again == HOT and isinstance(self.ready, tuple) and self.length <= JOINED_LIMIT:
                # Asked for so often within a second that a copy in one piece pays: one buffer is written faster than two.
                self.ready = b"".join(self.ready)
        return self.ready

    def block_at(self, second: int) -> bytes:
        """The head to send during this second as a field block (`wire.hpack`); made from `lead` when it is first asked for."""
        if second != self.block_second:
            if not self.block_lead:
                head = decode_stored_head(self.lead)
                self.block_lead = encode_status(head.status) + encode_fields(response_lines(head.fields))
            age = self.initial_age + max(0, second - self.born)
            told = f"edgeproxy;hit;ttl={self.fresh_until - second};detail={self.detail}"
            self.block = self.block_lead + encode_fields((("age", str(age)), ("cache-status", told)))
            self.block_second = second
        return self.block


class Resident:
    """One stored response with its verified body, if that is small enough for memory, and what was derived from both."""

    __slots__ = (
        "answers",
        "body",
        "compressible",
        "floor",
        "forms",
        "fresh_until",
        "generation",
        "groups",
        "mark",
        "pinned",
        "ref",
        "size",
        "stored",
        "tags",
        "tier_key",
    )

    def __init__(self, tier_key: str, stored: StoredResponse, ref: BodyRef, body: Verified[bytes] | None) -> None:
        self.tier_key = tier_key
        self.stored = stored
        self.ref = ref
        self.body = body
        self.forms: dict[str, Form] = {heads.IDENTITY: heads.identity_form(stored, body.value if body else None)}
        self.compressible = False
        self.fresh_until = Instant(0)
        self.generation = -1
        """Generation of the rules that `mark` was judged under."""
        self.mark = Mark.NONE
        self.pinned = False
        """Loaded for a rollback, and served under it only."""
        self.floor = 0
        """Size of the ledger when the request went to the origin: rules below it are older than this response."""
        self.tags: frozenset[str] = frozenset()
        self.groups: frozenset[str] = frozenset()
        self.answers: dict[str, Answer] = {}
        self.size = 0

    def committed(self, stored: StoredResponse) -> None:
        """Its block is there: the same response, now with a height."""
        self.stored = stored
        self.answers.clear()

    def add_form(self, form: Form) -> None:
        """Another coding is ready to be served."""
        self.forms[form.coding] = form
        self.size += form.length
        self.answers.clear()

    def keep_answer(self, key: str, answer: Answer) -> None:
        """Remember a ready answer: by its `ready.answer_key`, and by the kind of each request that got it (`ready.kind_of`)."""
        if len(self.answers) >= MAX_ANSWERS:
            self.answers.clear()
        self.answers[key] = answer
