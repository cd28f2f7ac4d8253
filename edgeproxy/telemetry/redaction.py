"""What must not leave the edge in a trace: secrets that stand in a query.

Owns: the list of parameter names. Must not judge values; a secret under an innocent name is not found.
"""

from typing import Final

REDACTED: Final = "REDACTED"

_SECRET: Final = frozenset(
    {
        # signed URLs, as the semantic conventions list them for url.query
        "awsaccesskeyid", "signature", "sig", "x-goog-signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token",
        # what applications put there although they should not
        "access_token", "id_token", "refresh_token", "token", "api_key", "apikey", "key", "auth", "password", "passwd", "secret",
        "client_secret", "code", "session", "sessionid", "jwt",
    }
)  # fmt: skip


def redacted_query(query: str) -> str:
    """`query` (without "?") with the value of each parameter that is known to carry a secret replaced."""
    return "&".join(_redacted(pair) for pair in query.split("&"))


def redacted_url(url: str) -> str:
    """`url` without user info, and with its query redacted."""
    head, mark, query = url.partition("?")
    scheme, slashes, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    head = f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}" if slashes else head
    return f"{head}{mark}{redacted_query(query)}" if mark else head


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={REDACTED}" if equals and name.lower() in _SECRET else pair
