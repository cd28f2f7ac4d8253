"""Signed notes (C2SP signed-note v1.0.0): a text, and below it the signatures of those who vouch for it.

Owns: the form of a note, of its signature lines, and which lines count. Must not know what the text says
(`ledger.checkpoint`) nor how a signature is made (`ledger.note_keys`).

  <text, one or more lines>
  <empty line>
  — <key name> <base64 of key ID and signature>     one or more

The message that is signed is the text with its last line feed. A line whose (name, key ID) is not known is ignored, whatever else
it looks like; one that is known must verify, or nothing of the note is believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.note_keys import KEY_ID_SIZE, Signer, Verifier, check_name
from edgeproxy.ledger.strict import decode_base64, decode_lines, encode_base64

MAX_NOTE = 1 << 19
"""Bytes; room for a hundred signatures with ML-DSA-44, of 3.3 kB each."""
MAX_SIGNATURES = 100

NO_KNOWN_KEY = "note has no signature of a known key"
_NAMED = 4
"""Of the keys that signed, and of those that were looked for, so many are named in a refusal."""

_START = "\u2014 "


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature, unverified. `blob` is what follows the key ID."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{_START}{self.name} {encode_base64(self.key_id + self.blob)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was written; nothing of it is verified. `text` ends in a line feed and is what the signatures are over."""

    text: str
    signatures: tuple[SignatureLine, ...]

    @property
    def message(self) -> bytes:
        return self.text.encode()

    def encode(self) -> bytes:
        """The bytes of the note."""
        return (self.text + "\n" + "".join(str(line) for line in self.signatures)).encode()


@dataclass(frozen=True, slots=True)
class Vouched:
    """A key whose signature verified; `timestamp` in POSIX seconds for a cosignature, else None."""

    verifier: Verifier
    timestamp: int | None


def parse_note(data: bytes) -> Note:
    """The note in `data`. Raises `ProofRefused` for any byte that is not as the specification says."""
    lines = decode_lines(data, most=MAX_NOTE)
    empty = len(lines) - 1
    while empty >= 0 and lines[empty]:
        empty -= 1
    if empty < 1:
        raise ProofRefused("note has no text, or no empty line before its signatures")
    rest = lines[empty + 1 :]
    if not rest:
        raise ProofRefused("note has no signatures")
    if len(rest) > MAX_SIGNATURES:
        raise ProofRefused("note has too many signatures", count=len(rest))
    signatures = tuple(_signature_line(line) for line in rest)
    refuse_repeated(signatures)
    return Note("".join(f"{line}\n" for line in lines[:empty]), signatures)


def parse_signature_lines(data: bytes) -> tuple[SignatureLine, ...]:
    """Signature lines alone, as witnesses answer with. Raises `ProofRefused`."""
    signatures = tuple(_signature_line(line) for line in decode_lines(data, most=MAX_NOTE))
    refuse_repeated(signatures)
    return signatures


def _signature_line(line: str) -> SignatureLine:
    if not line.startswith(_START):
        raise ProofRefused("signature line does not begin with an em dash and a space")
    name, space, encoded = line[len(_START) :].partition(" ")
    if not space:
        raise ProofRefused("signature line has no signature")
    check_name(name)
    blob = decode_base64(encoded)
    if len(blob) <= KEY_ID_SIZE:
        raise ProofRefused("signature is too short", name=name)
    return SignatureLine(name, blob[:KEY_ID_SIZE], blob[KEY_ID_SIZE:])


def refuse_repeated(signatures: Iterable[SignatureLine]) -> None:
    """Raises `ProofRefused` for two lines of one key (C2SP issue 257): readers differ over which of them counts."""
    seen: set[tuple[str, bytes]] = set()
    for line in signatures:
        if (line.name, line.key_id) in seen:
            raise ProofRefused("note has two signatures of one key", name=line.name)
        seen.add((line.name, line.key_id))


def open_note(note: Note, verifiers: Sequence[Verifier]) -> tuple[Vouched, ...]:
    """Who of `verifiers` signed the note, in the order of the lines; at least one.

    Raises `ProofRefused` when a signature of a known key does not verify, or no key is known.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    message = note.message
    vouched = []
    for line in note.signatures:
        verifier = known.get((line.name, line.key_id))
        if verifier is not None:
            vouched.append(Vouched(verifier, verifier.verify(message, line.blob)))
    if not vouched:
        signed, wanted = (
            ", ".join(f"{key.name}+{key.key_id.hex()}" for key in keys[:_NAMED]) for keys in (note.signatures, verifiers)
        )
        raise ProofRefused(NO_KNOWN_KEY, signed_by=signed, known=wanted)
    return tuple(vouched)


def sign_note(text: str, signers: Sequence[Signer]) -> Note:
    """`text` with the signatures of `signers`. Raises ValueError for a text that no reader would take."""
    try:
        decode_lines(text.encode(), most=MAX_NOTE)
    except ProofRefused as error:
        raise ValueError(error.text) from None
    message = text.encode()
    return Note(text, tuple(SignatureLine(signer.name, signer.key_id, signer.sign(message)) for signer in signers))
