"""The admin API described as OpenAPI 3.1, for tools that generate clients or pages from it.

Owns: the description. The routes themselves are in `api`; a test holds the two together.
"""

from typing import Any

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_OBJECT = {"type": "object"}
_FAULTS = {
    "type": "object",
    "required": ["applied", "faults", "restart"],
    "properties": {
        "applied": {"type": "boolean"},
        "faults": {"type": "array", "items": {"type": "string"}},
        "restart": {"type": "array", "items": {"type": "string"}},
    },
}
_PURGE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "values"],
    "properties": {
        "kind": {"enum": ["url", "prefix", "tag", "site"]},
        "values": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1000},
        "site": {"type": ["string", "null"], "description": "host of the one site whose tags or paths are meant"},
        "hard": {"type": "boolean", "default": False, "description": "as if never stored, instead of stale"},
        "dry_run": {"type": "boolean", "default": False},
    },
}
_SITE = {"type": ["string", "null"], "description": "host of the one site that is meant"}
_PREFIX = {"type": ["string", "null"], "description": "prefix of URLs or, from /, of paths"}
_ROLLBACK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["to"],
    "properties": {
        "to": {"type": ["integer", "string"], "description": "a height, RFC 3339, `YYYY-MM-DD HH:MM[:SS]`, `now`, `15m ago`"},
        "site": _SITE,
        "prefix": _PREFIX,
        "absent": {"enum": ["fetch", "refuse"], "default": "fetch", "description": "what becomes of what was not stored then"},
        "dry_run": {"type": "boolean", "default": False},
    },
}
_RELEASE = {"type": "object", "additionalProperties": False, "properties": {"site": _SITE, "prefix": _PREFIX}}
_RENEW = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {"name": {"type": "string", "description": "a host name of a site"}},
}
_ORDER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["mode"],
    "properties": {
        "mode": {"enum": ["on", "observe", "bypass", "kill", "config"], "description": "config takes orders back"},
        "site": {"type": ["string", "null"], "description": "a host of the one site that is meant"},
    },
}

_ERASE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "description": "an absolute URL; every variant of it is meant"},
        "everywhere": {"type": "boolean", "default": False, "description": "also bodies that other URLs have"},
        "dry_run": {"type": "boolean", "default": False},
    },
}


def _answer(text: str, schema: dict[str, Any] | None = None, media: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema or _OBJECT}}}


def _operation(
    summary: str,
    answers: dict[str, Any],
    *,
    parameters: tuple[dict[str, Any], ...] = (),
    body: dict[str, Any] | None = None,
    is_open: bool = False,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": dict(answers)}
    if is_open:
        operation["security"] = []
    else:
        operation["responses"]["401"] = _answer("missing or wrong token", _ERROR)
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _query(name: str, text: str, *, required: bool = False, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": text, "schema": schema or {"type": "string"}}


_HEIGHT = {"name": "height", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
_DIGEST = {"name": "digest", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}
_URL = _query("url", "an absolute URL", required=True)
_BAD = {"400": _answer("the request is not understood", _ERROR)}
_FIELD = _query("field", "a request field, `Name: value`; repeatable", schema={"type": "array", "items": {"type": "string"}})
_LIMIT = _query("limit", "at most so many versions", schema={"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100})

PATHS: dict[str, dict[str, Any]] = {
    "/": {"get": _operation("Status page", {"200": _answer("a page", {"type": "string"}, "text/html")}, is_open=True)},
    "/healthz": {"get": _operation("Health", {"200": _answer("healthy"), "503": _answer("not healthy")}, is_open=True)},
    "/readyz": {"get": _operation("Readiness", {"200": _answer("takes traffic"), "503": _answer("does not")}, is_open=True)},
    "/metrics": {
        "get": _operation("Metrics", {"200": _answer("Prometheus text", {"type": "string"}, "text/plain")}, is_open=True)
    },
    "/api/v1/openapi.json": {"get": _operation("This description", {"200": _answer("OpenAPI 3.1")}, is_open=True)},
    "/api/v1/status": {"get": _operation("The edge at a glance", {"200": _answer("sites, store, ledger head")})},
    "/api/v1/explain": {
        "get": _operation(
            "How a GET would be answered now, without asking an origin",
            {"200": _answer("plan and reason"), **_BAD},
            parameters=(_URL, _FIELD),
        )
    },
    "/api/v1/purge": {"post": _operation("Purge stored responses", {"200": _answer("the rules' blocks"), **_BAD}, body=_PURGE)},
    "/api/v1/rollback": {
        "post": _operation("Serve as at an earlier height", {"200": _answer("the block"), **_BAD}, body=_ROLLBACK)
    },
    "/api/v1/release": {
        "post": _operation(
            "End rollbacks, all or those of one scope",
            {"200": _answer("the blocks"), "409": _answer("nothing to release", _ERROR), **_BAD},
            body=_RELEASE,
        )
    },
    "/api/v1/reload": {
        "post": _operation(
            "Read the configuration anew",
            {"200": _answer("applied", _FAULTS), "422": _answer("refused, the old one goes on", _FAULTS)},
        )
    },
    "/api/v1/certificates": {"get": _operation("Certificates, and how their keeping goes", {"200": _answer("all of them")})},
    "/api/v1/certificates/renew": {
        "post": _operation("Renew one as soon as possible", {"202": _answer("it will be tried"), **_BAD}, body=_RENEW)
    },
    "/api/v1/service-worker": {
        "get": _operation(
            "What service workers are to do, and whom they saved", {"200": _answer("serial, and a line for each site")}
        ),
        "post": _operation("Order what they are to do", {"200": _answer("as it is now"), **_BAD}, body=_ORDER),
    },
    "/api/v1/ledger/head": {"get": _operation("Size and root of the ledger", {"200": _answer("the head")})},
    "/api/v1/ledger/rotate": {"post": _operation("Give the log a new key", {"200": _answer("the block, and both keys")})},
    "/api/v1/ledger/erase": {
        "post": _operation(
            "Delete the contents of a URL for good",
            {"200": _answer("the blocks that say so"), "404": _answer("no version of this URL", _ERROR), **_BAD},
            body=_ERASE,
        )
    },
    "/api/v1/ledger/rows": {
        "get": _operation(
            "Blocks with heads and clear names, for another node",
            {"200": _answer("up to 512 of them"), **_BAD},
            parameters=(_query("from", "the first height", schema={"type": "integer", "minimum": 0, "default": 0}),),
        )
    },
    "/api/v1/ledger/bodies/{digest}": {
        "get": _operation(
            "One body",
            {"200": _answer("its bytes", {"type": "string"}, "application/octet-stream"), "404": _answer("no such body", _ERROR)},
            parameters=(_DIGEST,),
        )
    },
    "/api/v1/ledger/blocks/{height}": {
        "get": _operation(
            "One block", {"200": _answer("the block"), "404": _answer("no such block", _ERROR)}, parameters=(_HEIGHT,)
        )
    },
    "/api/v1/ledger/history": {
        "get": _operation(
            "The versions of a URL, newest first", {"200": _answer("the versions"), **_BAD}, parameters=(_URL, _LIMIT)
        )
    },
}


def document(version: str) -> dict[str, Any]:
    """The whole description, for the edge of `version`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgeproxy admin API", "version": version},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": PATHS,
    }
