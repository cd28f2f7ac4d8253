"""Names that the origin gives to sets of responses: tags for purging (Surrogate-Key, Cache-Tag) and groups (RFC 9875).

Owns: reading them. Must not know what is stored under them.
"""

from edgeproxy.caching.model import Policy
from edgeproxy.wire import structured
from edgeproxy.wire.fields import Fields

MAX_TAGS = 1000
"""Tags read of one response; what comes after them is dropped."""


def tags(fields: Fields, policy: Policy) -> frozenset[str]:
    """All tags in the fields that `policy` names.

    Fields called `…-key` or `xkey` separate them by white space, others by commas.
    """
    found: list[str] = []
    for name in policy.tag_fields:
        for value in fields.all(name):
            items = value.replace(",", " ").split() if name.endswith("key") else value.split(",")
            found.extend(tag for item in items if (tag := item.strip()))
    return frozenset(found[:MAX_TAGS])


def cache_groups(fields: Fields) -> frozenset[str]:
    """The groups that a response belongs to within its origin (RFC 9875 section 2); none when the field is malformed."""
    return frozenset(string_members(fields.all("cache-groups")))


def string_members(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The strings of a structured list, in order, parameters ignored; () when anything in it is not a string."""
    members = structured.parse_list(lines) if lines else []
    strings: list[str] = []
    for member in members or ():
        value = member[0]
        if not isinstance(value, str):
            return ()
        strings.append(value)
    return tuple(dict.fromkeys(strings))
