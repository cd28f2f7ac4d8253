"""The control document: what an operator orders the service workers of a site to do, signed by the log's key.

Owns: its form, written and read. A C2SP signed note whose text has three lines:
  <origin of the log>/control
  edgeproxy-control/v1
  {"serial":…,"issued":…,"mode":…,"percent":…,"site":…,"salt":…,"max_stale":…,"mirrors":[…],"validators":null}
The first line is never a log's origin, so that no such note can be taken for a checkpoint. Must not decide what is ordered.
"""

from typing import Annotated, Literal

import msgspec

from edgeproxy.clock import Instant
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.ledger.notes import open_note, parse_note, sign_note

KIND = "control"
VERSION = "edgeproxy-control/v1"

Mode = Literal["on", "observe", "bypass", "kill"]
"""`on`: proved copies stand in for what fails. `observe`: failures are reported, nothing is changed. `bypass`: the worker stays
and touches nothing. `kill`: it deletes what it keeps and unregisters itself."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Quorum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Validators whose cosignatures a checkpoint needs: at least `quorum` of `keys`."""

    quorum: Annotated[int, msgspec.Meta(ge=1)]
    keys: tuple[str, ...]


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document. `issued` in milliseconds since the epoch, the same for one `serial`; `max_stale` in seconds."""

    serial: _Count
    issued: Annotated[Instant, msgspec.Meta(ge=0, le=2**53 - 1)]
    mode: Mode
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)]
    site: str
    salt: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    max_stale: _Count
    mirrors: tuple[str, ...] = ()
    validators: Quorum | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Control)


def statement_of(control: Control) -> str:
    """The lines behind the first one of the note."""
    return f"{VERSION}\n{_encoder.encode(control).decode()}\n"


def sign_control(control: Control, log: Signer) -> bytes:
    """The signed document."""
    return sign_note(f"{log.name}/{KIND}\n{statement_of(control)}", (log,)).encode()


def open_control(note: bytes, log: Verifier) -> Control:
    """What the log's key signed. Raises `ProofRefused` for any other text, and for one that is not in canonical form."""
    parsed = parse_note(note)
    open_note(parsed, (log,))
    lines = parsed.text.split("\n")
    if len(lines) != 4 or lines[0] != f"{log.name}/{KIND}" or lines[1] != VERSION:
        raise ProofRefused("note is not a control document of this log")
    try:
        control = _decoder.decode(lines[2])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofRefused("control document cannot be read", why=str(error)) from None
    if statement_of(control) != f"{VERSION}\n{lines[2]}\n":
        raise ProofRefused("control document is not in canonical form")
    return control
