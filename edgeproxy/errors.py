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
    CA = "ca"
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


class Retry(StrEnum):
    """When it makes sense to ask the same certificate authority for the same certificate again."""

    SOON = "soon"
    """After the usual back-off."""
    NOT_BEFORE = "not_before"
    """After the usual back-off, and not before the time that the authority named."""
    OPERATOR = "operator"
    """Not before a person changed something; once a day finds out whether somebody did."""
    OTHER_CA = "other_ca"
    """Not from this authority; another one may well do it. Once a day finds out whether it changed its mind."""


class IssuanceFailed(EdgeError):
    """A certificate authority did not issue, or could not be asked."""

    fault = Fault.CA
    status = 503

    def __init__(
        self,
        problem: str,
        detail: str = "",
        *,
        retry: Retry = Retry.SOON,
        not_before: float | None = None,
        failed_names: tuple[str, ...] = (),
        url: str = "",
        step: str = "",
    ) -> None:
        super().__init__("no certificate was issued", problem=problem, detail=detail, step=step)
        self.problem = problem
        """Short type of RFC 8555 section 6.7 ("rateLimited"), or one of our own ("unreachable", "timeout", "untrusted" ...)."""
        self.detail = detail
        """The authority's own words, at most 500 characters, without control characters."""
        self.retry = retry
        self.not_before = not_before
        """Unix seconds, from Retry-After; None when no time was named."""
        self.failed_names = failed_names
        """Names whose validation failed, each as often as it did: what a budget of failed validations counts."""
        self.url = url
        """A page for the operator that the authority named (to lift a pause, to accept new terms), or empty."""
        self.step = step
        """The state of the order in which it happened, or empty."""

    def happened(self, step: str, failed_names: tuple[str, ...]) -> None:
        """Note in which state of the order it happened, and what had failed until then."""
        self.step = self.fields["step"] = step
        self.failed_names = self.failed_names or failed_names


class CertificateFault(EdgeError):
    """A certificate, its key, or what was asked about it, cannot be used; the text says what is wrong."""

    fault = Fault.OPERATOR
    status = 400


class HelloRefused(EdgeError):
    """What a client said first on a TLS port begins no handshake; `alert` says why in the words of TLS (RFC 8446 section 6)."""

    fault = Fault.CLIENT

    def __init__(self, text: str, *, alert: int | None = None, **fields: object) -> None:
        super().__init__(text, **fields)
        self.alert = alert
        """None: the client does not speak TLS, so no alert would be understood."""


class ContextRefused(EdgeError):
    """OpenSSL takes a certificate, key or client CA not at all, or not together."""

    fault = Fault.OPERATOR


class StreamMalformed(EdgeError):
    """A request over HTTP/2 that is malformed (RFC 9113 section 8.1.1): its stream is reset, and there is no answer."""

    fault = Fault.CLIENT
    status = 400
    proxy_error = "http_request_error"


class ProofRefused(EdgeError):
    """A note, checkpoint, tile or proof does not hold, or is not written as its specification says; the text names the fault."""

    fault = Fault.STORE
