"""The cache key of a URL (RFC 9111 section 2, RFC 9110 section 4.2.3, RFC 3986 section 6.2).

Owns: normalisation. It goes only as far as no origin tells the results apart: the request goes on as it came, so a key that
merged `/%61` with `/a`, or `/x/../a` with `/a`, would let one client's odd spelling fill the page that all others get.
"""

import re
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

_PORTS = {"http": ":80", "https": ":443"}
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What the operator leaves out of keys: names of query parameters, as globs ("utm_*"), compared as they stand."""

    ignore_query: tuple[str, ...] = ()


NO_RULES = KeyRules()


def primary_key(url: str, rules: KeyRules = NO_RULES) -> str:
    """`url`, absolute, as it names its resource: scheme and host in lower case, no default port, "/" for an empty path, no
    fragment, escapes in upper case, and without the parameters that `rules` ignore. The order of parameters stays."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    scheme = scheme.lower()
    rest = rest.partition("#")[0]
    end = next((index for index, character in enumerate(rest) if character in "/?"), len(rest))
    authority, target = rest[:end].lower().removesuffix(":"), rest[end:]
    authority = authority.removesuffix(_PORTS.get(scheme, ":"))
    if not target.startswith("/"):
        target = f"/{target}"
    if "%" in target:
        target = _ESCAPE.sub(lambda match: match[0].upper(), target)
    if rules.ignore_query and "?" in target:
        target = _without_parameters(target, rules.ignore_query)
    return f"{scheme}://{authority}{target}"


def key_prefix(scheme: str, authority: str) -> str:
    """What the keys of all targets of one authority begin with; see `key_of_target`."""
    return primary_key(f"{scheme}://{authority}/")[:-1]


def key_of_target(prefix: str, target: str, rules: KeyRules) -> str:
    """`primary_key` of a target in origin form under a `key_prefix`, without taking the whole URL apart again."""
    if "%" in target or "#" in target or rules.ignore_query:
        return primary_key(prefix + target, rules)
    return prefix + target


def _without_parameters(target: str, globs: tuple[str, ...]) -> str:
    ignored = _pattern(globs)
    path, _, query = target.partition("?")
    parameters = query.split("&")
    kept = [parameter for parameter in parameters if not ignored.match(parameter.partition("=")[0])]
    if len(kept) == len(parameters):
        return target
    return f"{path}?{'&'.join(kept)}" if kept else path


@lru_cache(maxsize=256)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob) for glob in globs))
