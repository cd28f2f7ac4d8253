"""The life of an order as a table (RFC 8555 section 7.1.6, seen from the client). Pure.

Owns: which state follows which, and why. What is done in a state is in `order`. A failure is no state: it ends the attempt, and
says in which state it happened.

    create -> authorize -> present -> answer -> validate -> finalize <-> await -> download -> issued
       ^          |                                |            ^
       |          +--- nothing left to prove ------|------------+
       +--- another type of challenge is left -----+
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where an order is, as we know it."""

    CREATE = "create"
    """Ask for an order."""
    AUTHORIZE = "authorize"
    """Read what has to be proved, and choose how."""
    PRESENT = "present"
    """Put the answers to the challenges where the authority will look."""
    ANSWER = "answer"
    """Tell the authority to look."""
    VALIDATE = "validate"
    """Wait until it has looked."""
    FINALIZE = "finalize"
    """Send the CSR."""
    AWAIT = "await"
    """Wait until the order is where it should be: ready, or valid."""
    DOWNLOAD = "download"
    """Fetch the chain, and check it."""
    ISSUED = "issued"


class Event(StrEnum):
    """What a step found."""

    DONE = "done"
    WITHOUT_REPLACES = "without_replaces"
    """The authority takes the order only as one that replaces nothing."""
    ALL_VALID = "all_valid"
    """Nothing is left to be proved."""
    OTHER_CHALLENGE = "other_challenge"
    """A validation failed, and there is another way to try: the order is lost, a new one may succeed."""
    UNSETTLED = "unsettled"
    """The order is not ready yet, or it is not known what became of the request."""
    READY = "ready"
    ISSUED = "issued"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.CREATE, Event.DONE): State.AUTHORIZE,
    (State.CREATE, Event.WITHOUT_REPLACES): State.CREATE,
    (State.AUTHORIZE, Event.DONE): State.PRESENT,
    (State.AUTHORIZE, Event.ALL_VALID): State.FINALIZE,
    (State.PRESENT, Event.DONE): State.ANSWER,
    (State.ANSWER, Event.DONE): State.VALIDATE,
    (State.VALIDATE, Event.DONE): State.FINALIZE,
    (State.VALIDATE, Event.OTHER_CHALLENGE): State.CREATE,
    (State.FINALIZE, Event.UNSETTLED): State.AWAIT,
    (State.FINALIZE, Event.ISSUED): State.DOWNLOAD,
    (State.AWAIT, Event.READY): State.FINALIZE,
    (State.AWAIT, Event.ISSUED): State.DOWNLOAD,
    (State.DOWNLOAD, Event.DONE): State.ISSUED,
}
