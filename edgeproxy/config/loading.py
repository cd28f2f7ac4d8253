"""From a file and flags to a checked `Config`, or to every fault at once.

Owns: reading, and what a reload can change. Must not know what a value means. Precedence: flags over file over defaults.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeproxy.config.crosscheck import cross_faults
from edgeproxy.config.faults import fault_lines, fault_text
from edgeproxy.config.flags import NO_FLAGS, Flags, overlay
from edgeproxy.config.model import Config, Edge
from edgeproxy.config.values import Unfit, folder
from edgeproxy.errors import ConfigError


def load(path: Path | None, flags: Flags = NO_FLAGS) -> Config:
    """The configuration of `path` (None: of the flags alone), with `flags` over it.

    Raises `ConfigError` with all faults, each with key path, value and what is allowed; or with the one line of a TOML
    syntax error, behind which nothing can be judged.
    """
    raw = {} if path is None else _read(path)
    raw, named = overlay(raw, flags)
    try:
        config = Config.model_validate(raw)
        faults = []
    except ValidationError as error:
        config = None
        faults = list(fault_lines(error, named))
    faults += cross_faults(raw, named)
    if config is None or faults:
        raise ConfigError(faults)
    config.remember(path, flags)
    return config


def from_flags(flags: Flags) -> Config:
    """The configuration of the flags alone. Raises `ConfigError`."""
    return load(None, flags)


def reread(config: Config) -> Config:
    """The same file and flags once more, for a reload. Raises `ConfigError`; `config` stays as it is."""
    return load(config.path, config.flags)


def data_of(path: Path | None) -> Path:
    """`edge.data` of a file that may have faults elsewhere, or the default: enough to find a running edge.

    Raises `ConfigError` when the file cannot be read at all.
    """
    table = {} if path is None else _read(path).get("edge")
    value = table.get("data") if isinstance(table, dict) else None
    if value is None:
        return Edge().data
    try:
        return folder(value)
    except Unfit as unfit:
        raise ConfigError([fault_text("edge.data", value, unfit)]) from None


def needs_restart(old: Config, new: Config) -> list[str]:
    """A line for each key that changed and that a reload cannot apply: the running edge keeps the old value."""
    fixed = (
        *(("edge", key) for key in ("node", "data", "workers")),
        *(("listen", key) for key in ("admin", "admin_public", "admin_hosts")),
        *(("ledger", key) for key in type(old.ledger).model_fields if key not in ("publish", "keep_versions", "keep_for")),
        # Until there is an address for HTTPS, nothing of [acme] is in use.
        *(("acme", key) for key in type(old.acme).model_fields if key != "forward_challenges" and old.listen.https),
        *(("telemetry", key) for key in type(old.telemetry).model_fields),
    )
    changed = []
    for table, key in fixed:
        before, after = getattr(getattr(old, table), key), getattr(getattr(new, table), key)
        if before != after:
            values = "" if isinstance(before, tuple) or isinstance(after, tuple) else f" from {before} to {after}"
            changed.append(f"{table}.{key}: changes{values} only with a restart")
    return changed


_SYNTAX = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {(error.strerror or 'cannot be read').lower()}"]) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path} line {line}: not UTF-8 text"]) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_fault(path, text, str(error))]) from error


def _syntax_fault(path: Path, text: str, message: str) -> str:
    known = _SYNTAX.fullmatch(message)
    if known is None:
        return f"{path}: not TOML: {message}"
    line = int(known["line"]) if known["line"] else text.count("\n") + 1
    column = f" column {known['column']}" if known["column"] else ""
    return f"{path} line {line}{column}: not TOML: {known['what'][:1].lower()}{known['what'][1:]}"
