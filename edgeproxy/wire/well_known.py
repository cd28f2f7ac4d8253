"""Requests for what lies under `/.well-known/` and is the edge's own business.

Owns: how a challenge of a certificate authority is told from other requests (RFC 8555 section 8.3). Must not know any answer.
"""

from edgeproxy.wire.messages import Request

CHALLENGE_PATH = "/.well-known/acme-challenge/"


def is_challenge(request: Request) -> bool:
    """A certificate authority, or somebody who does as one, asks for the answer to a token."""
    return request.target.startswith(CHALLENGE_PATH) and request.method in ("GET", "HEAD")


def token_of(request: Request) -> str:
    """The token of a challenge; whether it is one, who knows tokens judges."""
    return request.path.removeprefix(CHALLENGE_PATH)
