"""What can go wrong, as types: whose fault it is, what the client is told, and whether a retry makes sense.

Owns: the hierarchy. A driver maps what its library raises to one of these where it calls the library. The text of an error
is constant and lower-case; what varies are its fields, so that errors can be counted and searched.
"""

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who has to act for the error to go away."""

    CLIENT = "client"
    ORIGIN = "origin"
    STORE = "store"
    OPERATOR = "operator"
    EDGE = "edge"


class EdgeError(Exception):
    """Base of all errors of edgeproxy.

    `text` is constant per place that raises it; `fields` say which, where and how much.
    """

    fault: ClassVar[Fault] = Fault.EDGE
    status: ClassVar[int] = 500
    proxy_error: ClassVar[str] = "proxy_internal_error"  # RFC 9209 section 2.3
    may_retry: ClassVar[bool] = False

    def __init__(self, text: str, **fields: object) -> None:
        super().__init__(text)
        self.text = text
        self.fields = fields

    def __str__(self) -> str:
        if not self.fields:
            return self.text
        return f"{self.text} ({', '.join(f'{name}={value}' for name, value in self.fields.items())})"


class RequestRefused(EdgeError):
    """The request cannot be understood, or asks for what this edge never does; the connection closes after the answer."""

    fault = Fault.CLIENT
    status = 400
    proxy_error = "http_request_error"

    def __init__(self, text: str, *, status: int = 400, **fields: object) -> None:
        super().__init__(text, **fields)
        self.status = status  # type: ignore[misc]  # an instance may be more exact than its class


class ClientGone(EdgeError):
    """The client closed, reset, or stopped reading; nobody is left to answer."""

    fault = Fault.CLIENT
    status = 499
    proxy_error = "connection_terminated"


class OriginError(EdgeError):
    """The origin gave no usable answer; a good stored response may stand in."""

    fault = Fault.ORIGIN
    status = 502
    proxy_error = "proxy_internal_response"


class OriginUnresolved(OriginError):
    """The origin's name has no address now."""

    status = 503
    proxy_error = "dns_error"


class OriginRefused(OriginError):
    """No connection could be made: refused, unreachable, or no such Unix socket."""

    status = 503
    proxy_error = "connection_refused"


class OriginConnectTimeout(OriginError):
    """No connection within the connect time-out."""

    status = 504
    proxy_error = "connection_timeout"


class OriginUntrusted(OriginError):
    """The origin's TLS certificate does not verify, or the TLS handshake failed."""

    status = 502
    proxy_error = "tls_certificate_error"


class OriginReset(OriginError):
    """The connection ended before a complete response head arrived."""

    proxy_error = "connection_terminated"
    may_retry = True


class OriginTimeout(OriginError):
    """The origin was connected but silent for longer than allowed."""

    status = 504
    proxy_error = "http_response_timeout"


class OriginTruncated(OriginError):
    """The response body ended before its framing said so."""

    proxy_error = "http_response_incomplete"


class OriginMalformed(OriginError):
    """The response is not HTTP, or its framing is ambiguous (RFC 9112 section 6.3)."""

    proxy_error = "http_protocol_error"


class OriginFailing(OriginError):
    """The origin answered, but with a server error of its own (500, 502, 503, 504)."""

    proxy_error = "destination_unavailable"


class StoreError(EdgeError):
    """The store or the ledger could not be read or written."""

    fault = Fault.STORE
    status = 500


class StoreFull(StoreError):
    """No space left on the device, or over the quota."""


class Corrupt(StoreError):
    """Stored bytes do not match what their block says; they must not be served."""


class ConfigError(EdgeError):
    """The configuration cannot be used. `faults` lists every fault, each with its key path."""

    fault = Fault.OPERATOR

    def __init__(self, faults: list[str]) -> None:
        super().__init__("configuration refused")
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


class StartError(EdgeError):
    """The edge cannot start: a port is taken, a folder is not writable, the ledger is a fork."""

    fault = Fault.OPERATOR


class StreamMalformed(EdgeError):
    """A request over HTTP/2 that is malformed (RFC 9113 section 8.1.1): its stream is reset, and there is no answer."""

    fault = Fault.CLIENT
    status = 400
    proxy_error = "http_request_error"
