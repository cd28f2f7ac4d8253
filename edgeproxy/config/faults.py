"""How a fault of the configuration reads: key path, value, what is wrong, what is allowed.

Owns: the text of a fault line and the search for the key that was meant. Must not judge values; that is `config.values`.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgeproxy.config.flags import KeyPath
from edgeproxy.config.model import Config, Table
from edgeproxy.config.values import Unfit

ELSEWHERE: Mapping[str, str] = {
    "ledger.retention": "there is no such key; allowed: ledger.keep_versions, ledger.keep_for and edge.disk say what is kept",
}
"""Keys that one may expect, and what has their place."""

_LONGEST_VALUE = 100


def path_text(path: KeyPath) -> str:
    """`site[0].cache.default_ttl`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def value_text(value: Any) -> str:
    """A value as one would write it in TOML, cut when long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:  # a date of TOML
        text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def fault_text(where: str, value: Any, unfit: Unfit) -> str:
    """One fault line."""
    return f"{where}: {value_text(value)} {unfit.problem}; allowed: {unfit.allowed}"


def fault_lines(error: ValidationError, flags: Mapping[KeyPath, str]) -> Iterator[str]:
    """A line for each error that pydantic found; `flags` names the flag that a value came from."""
    for detail in error.errors(include_url=False):
        yield _line(detail, flags)


def where_text(path: KeyPath, flags: Mapping[KeyPath, str]) -> str:
    """The flag that gave the value at `path`, or else the key path."""
    for length in range(len(path), 0, -1):
        if (flag := flags.get(path[:length])) is not None:
            return flag
    return path_text(path)


def _line(detail: ErrorDetails, flags: Mapping[KeyPath, str]) -> str:
    path = tuple(detail["loc"])
    where = where_text(path, flags)
    match detail["type"]:
        case "extra_forbidden":
            return f"{where}: {_unknown(path)}"
        case "missing":
            return f"{where}: missing; allowed: {_required(path)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            header = ".".join(part for part in path if isinstance(part, str))
            header = f"[[{header}]]" if path[-1:] and isinstance(path[-1], int) else f"[{header}]"
            return f"{where}: {value_text(detail['input'])} is not a table; allowed: {header} and its keys below it"
    problem = detail.get("ctx", {}).get("error")
    if isinstance(problem, Unfit):
        if path == ("site",):
            return f"{where}: {value_text(detail['input'])} is not a list of tables; allowed: [[site]], with two brackets"
        return fault_text(where, detail["input"], problem)
    return f"{where}: {value_text(detail['input'])} {detail['msg']}"


def _required(path: KeyPath) -> str:
    return {
        "hosts": "a list of host names",
        "origins": "a list of origins",
        "directory": "the URL of an authority's directory",
        "ask": "the URL of your own service",
        "vkey": "the key that `edgeproxy validator init` printed",
        "url": "where the validator is asked",
        "key_id": "the identifier that the authority gave",
        "mac_key": "the key that the authority gave, in base64url",
    }.get(str(path[-1]), "a value")


def _unknown(path: KeyPath) -> str:
    """What to say of a key that no table declares: what has its place, what it is near to, where it is at home, or nothing."""
    plain = ".".join(part for part in path if isinstance(part, str))
    if (instead := ELSEWHERE.get(plain)) is not None:
        return instead
    key = str(path[-1])
    known = sorted(_keys(_table_at(path[:-1])))
    if near := difflib.get_close_matches(key, known, n=1, cutoff=0.6):
        return f"unknown key; did you mean {near[0]}?"
    homes = sorted(home for home in _all_keys(Config) if home.rpartition(".")[2] == key)
    if homes:
        return f"unknown key here; did you mean {' or '.join(homes)}?"
    return f"unknown key; allowed: {', '.join(known)}"


def _keys(table: type[Table]) -> dict[str, type[Table] | None]:
    """The keys of a table as the file writes them, and the table below each, if it is one."""
    keys: dict[str, type[Table] | None] = {}
    for name, field in table.model_fields.items():
        candidates = (field.annotation, *get_args(field.annotation))
        below = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Table)]
        keys[field.alias or name] = below[0] if below else None
    return keys


def _table_at(path: KeyPath) -> type[Table]:
    table: type[Table] = Config
    for part in path:
        if isinstance(part, str):
            below = _keys(table)[part]
            assert below is not None  # pydantic reports unknown keys only inside tables
            table = below
    return table


def _all_keys(table: type[Table], above: str = "") -> Iterator[str]:
    for key, below in _keys(table).items():
        if below is None:
            yield above + key
        else:
            yield from _all_keys(below, f"{above}{key}.")
