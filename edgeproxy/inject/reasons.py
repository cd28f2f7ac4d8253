"""Why a page was left as it was, as words that the outside sees.

Owns: the strings of the span attribute and of the metric's label. Must not decide anything.
"""

from enum import StrEnum


class Skip(StrEnum):
    """Why nothing was injected."""

    # the request
    OFF = "off"
    """The site, or its operator, wants none here; or the host has a service worker of its own."""
    METHOD = "method"
    DESTINATION = "destination"
    """Not asked for to be shown as a page of its own."""
    FRAGMENT = "fragment"
    """htmx, Turbo or a script asked."""
    INSECURE = "insecure"
    """Browsers have service workers over HTTPS and on this machine only."""
    # the head of the response
    STATUS = "status"
    NOT_HTML = "not_html"
    ATTACHMENT = "attachment"
    NO_TRANSFORM = "no_transform"
    CODING = "coding"
    CHARSET = "charset"
    """Its bytes are not what they look like in ASCII (UTF-16 and its like)."""
    INTEGRITY = "integrity_policy"
    CHALLENGED = "challenged"
    """Pages beside it asked for a password: browsers do not ask for one through a service worker."""
    # its policy
    CSP_RESPECTED = "csp_respected"
    """Its policy would have to be changed, and the site is set to `respect`."""
    CSP_WORKER = "csp_worker_none"
    CSP_SANDBOX = "csp_sandbox"
    CSP_TYPES = "csp_trusted_types_none"
    CSP_STRICT = "csp_strict_dynamic"
    """Only scripts that it trusts by hash may load others, and ours is not among them."""
    # its body
    NOT_A_DOCUMENT = "not_a_document"
    AMP = "amp"
    META_CSP = "meta_csp"
    PRESENT = "present"
    NO_PLACE = "no_place"
    TOO_FAR = "too_far"


INJECTED = "injected"
"""Beside the reasons: it was."""
