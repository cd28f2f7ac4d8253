"""Receipts: what service workers say they served when the network did not, read strictly; and the token that lets them say it.

Owns: the shape of a request, and the token's form. Pure: no clock, no file, no random. Must not judge whether a receipt is true.

A token says that this edge talked to the browser: nonce and time of issue, and a MAC over both and the site's host. It is no
proof of what is reported, only a bound on who reports and how often.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Annotated, Final, Literal

import msgspec

from edgeproxy.caching.model import Height
from edgeproxy.clock import Instant
from edgeproxy.errors import RequestRefused
from edgeproxy.ledger.drafts import Source

MAX_REQUEST: Final = 16 << 10
"""Bytes of one request."""
MAX_RECEIPTS: Final = 20
MAX_URL: Final = 2048
TOKEN_MILLISECONDS: Final = 7 * 86_400_000
FUTURE_MILLISECONDS: Final = 5 * 60_000
"""How far a browser's clock may be ahead of ours."""

KNOWN_CAUSES: Final = frozenset(
    ("network", "timeout", "hang", "status-500", "status-502", "status-503", "status-504", "cache-bad", "edge-bad", "mirror-bad")
)
"""Those that are counted by name; another one is counted as "other"."""
_BAD: Final = "-bad"
KNOWN_OUTCOMES: Final = frozenset(
    (
        *("registered", "updated", "removed", "killed", "disabled", "foreign_sw", "unsupported", "insecure", "tt_blocked"),
        *("blocked", "error"),
    )
)
"""What a page may report of the registration."""

_PURPOSE: Final = b"edgeproxy receipt token v1\n"
_NONCE: Final = 8
_MAC: Final = 16
_Text = Annotated[str, msgspec.Meta(max_length=64)]


class Reported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One receipt as a browser sends it. `served` in milliseconds since the epoch, by its clock."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z")]
    url: Annotated[str, msgspec.Meta(pattern=r"\Ahttps?://[!-~]+\Z", max_length=MAX_URL)]
    source: Source
    cause: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
    block: Annotated[Height, msgspec.Meta(ge=0, le=2**53 - 1)] | None
    served: Annotated[Instant, msgspec.Meta(ge=0, le=2**53 - 1)]
    dest: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{0,16}\Z")] = ""
    trace: Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{32})?\Z")] = ""


class ReceiptRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a post."""

    token: Annotated[str, msgspec.Meta(max_length=128)]
    receipts: Annotated[tuple[Reported, ...], msgspec.Meta(min_length=1, max_length=MAX_RECEIPTS)]


class RegistrationReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page's script reports of the registration, by `sendBeacon`: no token, counted and no more."""

    register: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
    detail: _Text = ""


class _Peek(msgspec.Struct):
    register: str | msgspec.UnsetType = msgspec.UNSET


_peek = msgspec.json.Decoder(_Peek)
_receipts = msgspec.json.Decoder(ReceiptRequest)
_registration = msgspec.json.Decoder(RegistrationReport)


def parse_report(body: bytes) -> ReceiptRequest | RegistrationReport:
    """What a browser posted. Raises RequestRefused: 413 when it is too long, 400 for any other shape."""
    if len(body) > MAX_REQUEST:
        raise RequestRefused("receipts are too long", status=413, most=MAX_REQUEST)
    try:
        if _peek.decode(body).register is not msgspec.UNSET:
            return _registration.decode(body)
        return _receipts.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused("receipts cannot be read", why=str(error)) from None


def make_token(key: bytes, host: str, now: Instant, nonce: bytes) -> str:
    """A token for workers of `host`; `nonce` is 8 random bytes."""
    said = nonce + now.to_bytes(8, "big")
    return base64.urlsafe_b64encode(said + _mac(key, host, said)).decode("ascii")


def check_token(token: str, key: bytes, host: str, now: Instant) -> bytes:
    """The nonce of a token of ours for `host` that holds now. Raises RequestRefused (403)."""
    try:
        data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RequestRefused("token cannot be read", status=403) from None
    said, mac = data[: _NONCE + 8], data[_NONCE + 8 :]
    if len(data) != _NONCE + 8 + _MAC or not hmac.compare_digest(mac, _mac(key, host, said)):
        raise RequestRefused("token was not issued here for this site", status=403)
    issued = int.from_bytes(said[_NONCE:], "big")
    if not issued - FUTURE_MILLISECONDS <= now <= issued + TOKEN_MILLISECONDS:
        raise RequestRefused("token is too old: fetch the control document anew", status=403)
    return said[:_NONCE]


def _mac(key: bytes, host: str, said: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + host.encode() + b"\n" + said, hashlib.sha256)[:_MAC]


def is_timely(receipt: Reported, now: Instant) -> bool:
    """Whether it was served lately enough: older ones are of no use, and could have been seen and forgotten."""
    return now - TOKEN_MILLISECONDS <= receipt.served <= now + FUTURE_MILLISECONDS


def identity_of(host: str, receipt: Reported) -> bytes:
    """What a receipt is recognised by when it comes again, under whatever token: 16 bytes."""
    return hashlib.sha256(f"{host}\n{receipt.id}".encode()).digest()[:16]


def cause_label(cause: str) -> str:
    """The cause as counters name it."""
    return cause if cause in KNOWN_CAUSES else "other"


def tells_of_a_lie(cause: str) -> bool:
    """Whether a worker reports that something did not prove itself. It was not served, and is no block of ours."""
    return cause.endswith(_BAD)


def outcome_label(outcome: str) -> str:
    """The outcome of a registration as counters name it."""
    return outcome if outcome in KNOWN_OUTCOMES else "other"


Refusal = Literal["site", "url", "block", "time", "full"]
"""Why one receipt was not taken: host of another site; URL without form; a block that is none of the URL's; served too long ago
or in the future; too many at once."""

_host = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?(?=[/?]|\Z)", re.ASCII).match


def host_of(url: str) -> str | None:
    """The host of an absolute URL as browsers write it, without port; None for a URL that no browser would report."""
    found = _host(url)
    return None if found is None or "#" in url else found[1]
