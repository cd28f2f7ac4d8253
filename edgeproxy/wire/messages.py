"""A request and a response head, as values (RFC 9110 section 6). They carry no behaviour of a connection.

Owns: the types that every other room speaks in. Must not parse or serialise; that is `wire.http1`.
"""

from dataclasses import dataclass, field
from typing import Any

from edgeproxy.wire.fields import Fields

CHUNKED = -1
"""Value of `Request.body_length` when the body is chunked and its length unknown."""


@dataclass(slots=True, eq=False)
class Request:
    """One parsed request head. Compared by identity: a memo may hand the same object to many exchanges, so nobody assigns to it.
    (Not declared frozen only because such a class takes three times as long to make, and one is made for each new head.)

    `target` is the path with its query ("/a?b"), or "*" for `OPTIONS *`; `host` is lower-case without port, IPv6 in brackets;
    `authority` is `host` with the port as received, when there was one. `body_length` is bytes, 0 for none, or `CHUNKED`.
    """

    method: str
    target: str
    authority: str
    host: str
    version: tuple[int, int]
    fields: Fields
    body_length: int = 0
    keep_alive: bool = True
    expects_continue: bool = False
    upgrade: str | None = None
    scheme: str = "http"
    memo: dict[str, Any] = field(default_factory=dict)
    """Room for whoever answers to keep what follows from these bytes alone; never part of the meaning."""

    @property
    def url(self) -> str:
        """The target URI (RFC 9110 section 7.1)."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and fields of a response, without hop-by-hop fields once it is past the driver that read it."""

    status: int
    fields: Fields
