"""Which exchanges get the tag, as far as their heads tell (what their bodies tell is the scanner's).

Owns: the conditions on request and response. Must not look into a body, nor into a policy (`csp`).

A request qualifies when a browser asks for a page to show as its own: the answer to anything else, even of the same URL, stays as
it came. That a browser's or another shared cache may mix the two up is harmless: the tag asks for one small script that does
nothing in a frame or a fragment, and a page without it is a page as before.
"""

import re

from edgeproxy.inject.reasons import Skip
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

_FRAGMENT_FIELDS = ("hx-request", "turbo-frame", "x-requested-with", "x-pjax", "x-up-target")
# Browsers treat these as secure too (W3C Secure Contexts, section 3.1).
_LOCAL = re.compile(r"localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\]")
# Where bytes below 0x80 may be parts of other characters.
_NOT_ASCII = re.compile(r"utf-?(?:16|32|7)|iso-2022|hz-gb|ucs-?[24]|unicode(?!-1-1-utf-8)|ibm-?\d|cp-?0?37|x-ebcdic|ebcdic")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)


def wants_document(destination: str | None, accept: str | None) -> bool:
    """Whether a request with these values of `Sec-Fetch-Dest` and `Accept` asks for a page to be shown; None for one without.

    Browsers before 2023 send no destination; then one that takes HTML is believed.
    """
    if destination is not None:
        return destination.strip() == "document"
    return accept is not None and "text/html" in accept.lower()


def of_request(request: Request) -> Skip | None:
    """Why no answer to `request` gets the tag; None when nothing in it speaks against it."""
    fields = request.fields
    if request.method not in ("GET", "HEAD"):
        return Skip.METHOD
    if not wants_document(_last(fields, "sec-fetch-dest"), _last(fields, "accept")):
        return Skip.DESTINATION
    if any(name in fields for name in _FRAGMENT_FIELDS):
        return Skip.FRAGMENT
    if not is_secure(request):
        return Skip.INSECURE
    return None


def _last(fields: Fields, name: str) -> str | None:
    """Of several lines the last counts, so that heads that are known by a pattern are judged alike (`serving.heads`)."""
    return next(reversed(fields.all(name)), None)


def is_secure(request: Request) -> bool:
    """Whether the browser may have a service worker here.

    What a proxy in front says of HTTPS is believed whoever it is: it changes nothing but the answer to the one who says it.
    """
    return (
        request.scheme == "https"
        or request.fields.get("x-forwarded-proto") == "https"
        or _LOCAL.fullmatch(request.host) is not None
    )


def of_response(status: int, fields: Fields, *, coded: bool) -> Skip | None:
    """Why a response with this head does not get the tag. `coded`: its body is at hand only in a content coding."""
    media, *parameters = (fields.get("content-type") or "").split(";", 1)
    if media.strip().lower() != "text/html":
        return Skip.NOT_HTML
    if status != 200:
        return Skip.STATUS
    if (fields.get("content-disposition") or "").strip().lower().startswith("attachment"):
        return Skip.ATTACHMENT
    if "no-transform" in (fields.get("cache-control") or "").lower():
        return Skip.NO_TRANSFORM
    if coded:
        return Skip.CODING
    charset = _CHARSET.search(";" + ";".join(parameters))
    if charset is not None and _NOT_ASCII.match(charset[1].lower()):
        return Skip.CHARSET
    if re.search(r"blocked-destinations\s*=\s*\([^)]*\bscript\b", fields.get("integrity-policy") or ""):
        return Skip.INTEGRITY  # of a script that may change nobody can give a hash
    return None


def is_worker_script(request: Request) -> bool:
    """Whether a browser asks for the script of a service worker that is not ours (Service Workers, "Update", step 8.1)."""
    fields = request.fields
    destination = fields.get("sec-fetch-dest")
    asks = destination == "serviceworker" or (destination is None and fields.get("service-worker") == "script")
    return asks and not request.target.startswith("/.edge/")
