"""What is known of injecting into one stored response, kept beside it.

Owns: the outcome and the forms with the tag in them. Must not judge or make anything; `exchange.injection` does.
"""

from edgeproxy.exchange.heads import Form
from edgeproxy.inject.csp import Change
from edgeproxy.inject.reasons import INJECTED
from edgeproxy.wire.fields import Fields


class Injected:
    """`outcome` is `INJECTED` or why not, and None while the place is not known: the body is on disk and was not looked at yet.

    `fields` are those of the stored head with its policies amended. `forms` is empty unless it is injected into.
    """

    __slots__ = ("changes", "fields", "forms", "outcome", "tag")

    def __init__(self, fields: Fields, tag: bytes = b"", changes: tuple[Change, ...] = (), outcome: str | None = None) -> None:
        self.fields = fields
        self.tag = tag
        self.changes = changes
        self.outcome = outcome
        self.forms: dict[str, Form] = {}

    def __repr__(self) -> str:
        return f"Injected({self.outcome}, forms={sorted(self.forms)})"

    @property
    def is_into(self) -> bool:
        """Whether there is a form with the tag in it."""
        return self.outcome == INJECTED

    @property
    def may_be_into(self) -> bool:
        """Whether answers differ by who asks, now or once the place is known."""
        return self.outcome is None or self.outcome == INJECTED

    @property
    def size(self) -> int:
        """Bytes of its forms in memory."""
        return sum(form.length for form in self.forms.values() if form.data is not None)
