"""Every name that the telemetry of the edge shows to the outside, declared once: spans, attributes, metrics.

Owns: the strings. Names without our prefix are OpenTelemetry's semantic conventions for HTTP (stable as of 1.23); names with
`edgeproxy.` are ours. Must not decide when something is recorded. `docs/tracing.md` holds the same names with their meaning.
"""

from dataclasses import dataclass
from typing import Final

# --- span names. A server span is called "{METHOD} {site}"; the client span of one origin try is called after its method.
LOOKUP: Final = "cache.lookup"
VERIFY: Final = "body.verify"
REVALIDATE: Final = "cache.revalidate"
APPEND: Final = "ledger.append"
COMMIT: Final = "ledger.commit"

# --- attributes of the semantic conventions
METHOD: Final = "http.request.method"
METHOD_ORIGINAL: Final = "http.request.method_original"
RESEND_COUNT: Final = "http.request.resend_count"
STATUS: Final = "http.response.status_code"
RESPONSE_SIZE: Final = "http.response.body.size"
URL_SCHEME: Final = "url.scheme"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CLIENT_ADDRESS: Final = "client.address"
PEER_ADDRESS: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"
PROTOCOL_VERSION: Final = "network.protocol.version"
USER_AGENT: Final = "user_agent.original"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"

# --- attributes of our own
SITE: Final = "edgeproxy.site"
PLAN: Final = "edgeproxy.plan"
REASON: Final = "edgeproxy.reason"
CACHE_STATUS: Final = "edgeproxy.cache.status"
COALESCED: Final = "edgeproxy.coalesced"
BLOCK_HEIGHT: Final = "edgeproxy.block.height"
BLOCK_OP: Final = "edgeproxy.block.op"
BODY_LENGTH: Final = "edgeproxy.body.length"
BATCH_SIZE: Final = "edgeproxy.batch.size"
BATCH_TRACED: Final = "edgeproxy.batch.traced"
ORIGIN: Final = "edgeproxy.origin"
TRY: Final = "edgeproxy.origin.try"
INJECTION: Final = "edgeproxy.injection"
CSP_CHANGES: Final = "edgeproxy.csp.changes"
CONNECTION_REUSED: Final = "edgeproxy.connection.reused"

KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}  # RFC 9110, 5789, and QUERY
)
OTHER_METHOD: Final = "_OTHER"


def server_span_name(method: str, site: str) -> str:
    """Low in cardinality, whatever a client sends: an unknown method is called HTTP, as the semantic conventions ask."""
    return f"{method if method in KNOWN_METHODS else 'HTTP'} {site}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family: its name, its Prometheus type, its help text, and the names of its labels in the order printed."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Metric(
    "edgeproxy_requests_total", "counter", "Exchanges answered, by how they were answered.", ("site", "outcome")
)
RESPONSE_BYTES: Final = Metric(
    "edgeproxy_response_bytes_total", "counter", "Bytes of response bodies sent to clients.", ("site",)
)
REQUEST_DURATION: Final = Metric(
    "edgeproxy_request_duration_seconds",
    "histogram",
    "Time from request head to the last byte of the answer; hits answered at once out of memory are not in it.",
    ("site",),
)
ORIGIN_TRIES: Final = Metric(
    "edgeproxy_origin_tries_total", "counter", "Requests sent to an origin, retries included.", ("site",)
)
ORIGIN_UP: Final = Metric(
    "edgeproxy_origin_up", "gauge", "1 when the last try at the origin was answered with a status below 500, else 0.",
    ("site", "origin"),
)
ORIGIN_ERRORS: Final = Metric(
    "edgeproxy_origin_errors_total", "counter", "Tries that gave no usable answer, by type of error.", ("site", "error")
)
ORIGIN_DURATION: Final = Metric(
    "edgeproxy_origin_duration_seconds", "histogram", "Time from sending a request to the origin's response head.", ("site",)
)
STALE: Final = Metric("edgeproxy_stale_total", "counter", "Stale answers sent, by reason.", ("site", "reason"))
CORRUPT: Final = Metric("edgeproxy_corrupt_bodies_total", "counter", "Stored bodies that did not match their block.", ("site",))
INJECTIONS: Final = Metric(
    "edgeproxy_injections_total",
    "counter",
    "Pages sent to be shown: with the tag of the service worker (injected), or why without.",
    ("site", "outcome"),
)
CSP_CHANGES_TOTAL: Final = Metric(
    "edgeproxy_csp_changes_total",
    "counter",
    "Changes made to the policies of pages so that the tag works, by kind; once for each stored or passing page.",
    ("site", "change"),
)
CONNECTIONS_TOTAL: Final = Metric("edgeproxy_connections_total", "counter", "Client connections accepted.")
REFUSED: Final = Metric(
    "edgeproxy_refused_requests_total", "counter", "Requests that could not be parsed, by status.", ("status",)
)
LEDGER_COMMIT: Final = Metric("edgeproxy_ledger_commit_seconds", "histogram", "Time to make one batch of blocks durable.")
LEDGER_BLOCKS: Final = Metric("edgeproxy_ledger_blocks_total", "counter", "Blocks committed by this process.")
LEDGER_REFUSED: Final = Metric("edgeproxy_ledger_refused_total", "counter", "Drafts that the ledger did not take.")
RECEIPTS: Final = Metric(
    "edgeproxy_receipts_total", "counter", "Receipts of service workers that were taken.", ("site", "source", "cause")
)
RECEIPTS_REFUSED: Final = Metric(
    "edgeproxy_receipts_refused_total", "counter", "Receipts of service workers that were not taken, by reason.", ("reason",)
)
REGISTRATIONS: Final = Metric(
    "edgeproxy_worker_registrations_total",
    "counter",
    "What pages said of the service worker's registration.",
    ("site", "outcome"),
)
BROWSER_SPANS: Final = Metric(
    "edgeproxy_browser_spans_total", "counter", "Spans of browsers, by what became of them.", ("outcome",)
)
WORKER_MODE: Final = Metric("edgeproxy_worker_mode", "gauge", "1 for what a site's service workers are to do.", ("site", "mode"))
GAUGE_ERRORS: Final = Metric("edgeproxy_gauge_errors_total", "counter", "Gauges that could not be read while rendering.")

CONNECTIONS: Final = Metric("edgeproxy_connections", "gauge", "Client connections open now.")
CERTIFICATE_SECONDS: Final = Metric(
    "edgeproxy_certificate_seconds_left", "gauge", "Until the end of the certificate that is served for a name.", ("name",)
)
CERTIFICATE_SUCCESS: Final = Metric(
    "edgeproxy_certificate_last_success_seconds", "gauge", "Unix time of the last attempt that brought one.", ("name",)
)
CERTIFICATE_FAILURE: Final = Metric(
    "edgeproxy_certificate_last_failure_seconds", "gauge", "Unix time of the last attempt that brought none.", ("name",)
)
CERTIFICATE_NEXT: Final = Metric(
    "edgeproxy_certificate_next_attempt_seconds", "gauge", "Unix time of the next attempt.", ("name",)
)
TLS_ARRIVALS: Final = Metric(
    "edgeproxy_tls_arrivals_total", "counter", "TLS connections by what became of them before their first request.", ("outcome",)
)
LEDGER_HEIGHT: Final = Metric("edgeproxy_ledger_height", "gauge", "Height of the newest committed block.")
ROLLBACKS: Final = Metric("edgeproxy_rollbacks", "gauge", "Rollbacks in force.")
LEDGER_QUEUE: Final = Metric("edgeproxy_ledger_queue", "gauge", "Drafts waiting for their commit.")
LEDGER_FINAL: Final = Metric("edgeproxy_ledger_final_size", "gauge", "Blocks that a quorum of validators has made final.")
LEDGER_LAG_BLOCKS: Final = Metric("edgeproxy_ledger_final_lag_blocks", "gauge", "Committed blocks that are not final.")
LEDGER_LAG_SECONDS: Final = Metric(
    "edgeproxy_ledger_final_lag_seconds", "gauge", "Since the oldest block that is not final was committed."
)
LEDGER_FORK: Final = Metric("edgeproxy_ledger_fork", "gauge", "1 when this log's key has signed what contradicts the ledger.")
VALIDATOR_ANSWERS: Final = Metric(
    "edgeproxy_validator_answers_total", "counter", "Answers of validators, by what they meant.", ("validator", "outcome")
)
VALIDATOR_ALARMS: Final = Metric(
    "edgeproxy_validator_alarm", "gauge", "1 while a validator says that the ledger is a fork, or lost its state.", ("validator",)
)
MEMORY_USED: Final = Metric("edgeproxy_memory_used_bytes", "gauge", "Bytes held by the memory tier.")
MEMORY_LIMIT: Final = Metric("edgeproxy_memory_limit_bytes", "gauge", "Budget of the memory tier.")
DISK_USED: Final = Metric("edgeproxy_disk_used_bytes", "gauge", "Bytes of bodies on disk.")
DISK_LIMIT: Final = Metric("edgeproxy_disk_limit_bytes", "gauge", "Quota of bodies on disk.")
FORM_QUEUE: Final = Metric("edgeproxy_form_queue", "gauge", "Bodies waiting to be compressed.")
LOG_LOST: Final = Metric(
    "edgeproxy_access_log_lost_lines_total", "counter", "Access log lines dropped: queue full, disk full, pipe closed."
)
BUILD: Final = Metric("edgeproxy_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "node"))
CPU_SECONDS: Final = Metric("process_cpu_seconds_total", "counter", "User and system CPU time.")
RESIDENT: Final = Metric("process_resident_memory_bytes", "gauge", "Resident memory.")
