"""A page for each line of the policy table of docs/injection.md, for tests in a real browser.

    async with fronted(folder, csp_pages.ways(), site='[site.service_worker]\\nmode = "on"\\n') as it: …

`/NAME` of a row is a page with that policy and a script of its own, which sets `document.title` to "ran". `runs` says whether the
policy lets it, `injected` whether the edge puts its tag in, and so whether the service worker is to be registered.
"""

import hashlib
from base64 import b64encode
from dataclasses import dataclass

from tests.support.scripted import Way, page

NONCE = "r4nd0mr4nd0m"
OWN = "document.title='ran'"
OWN_HASH = f"'sha256-{b64encode(hashlib.sha256(OWN.encode()).digest()).decode()}'"
POLICY = "Content-Security-Policy"
REPORT_ONLY = "Content-Security-Policy-Report-Only"


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `policies` are field lines: (name, value)."""

    name: str
    policies: tuple[tuple[str, str], ...]
    runs: bool = True
    injected: bool = True


def _row(name: str, *values: str, field: str = POLICY, runs: bool = True, injected: bool = True) -> Row:
    return Row(name, tuple((field, value) for value in values), runs, injected)


ROWS = (
    _row("none"),
    _row("self", "default-src 'self' 'unsafe-inline'"),
    _row("script-self", f"script-src 'self' {OWN_HASH}"),
    _row("nonce", f"script-src 'nonce-{NONCE}'"),
    _row("strict-dynamic", f"script-src 'nonce-{NONCE}' 'strict-dynamic'"),
    _row("hash", f"script-src {OWN_HASH}"),
    _row("hosts", "script-src https://cdn.example", runs=False),
    _row("unsafe-inline", "script-src 'unsafe-inline'"),
    _row("default-none", "default-src 'none'", runs=False),
    _row("worker-none", "worker-src 'none'", injected=False),
    _row("types", "require-trusted-types-for 'script'"),
    _row("types-listed", "require-trusted-types-for 'script'; trusted-types a b"),
    _row("types-none", "require-trusted-types-for 'script'; trusted-types 'none'", injected=False),
    _row("two", f"script-src 'nonce-{NONCE}'", f"default-src 'self'; script-src 'nonce-{NONCE}' https://cdn.example"),
    _row("two-in-one", f"script-src 'nonce-{NONCE}', script-src {OWN_HASH} 'nonce-{NONCE}'"),
    _row("sandbox", "sandbox allow-scripts", injected=False),
    _row("report-only", "default-src 'none'", field=REPORT_ONLY),
    _row("connect-none", "connect-src 'none'"),
)


def html(name: str) -> str:
    """The page of a row."""
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{name}</title></head>"
        f'<body><h1>{name}</h1><script nonce="{NONCE}">{OWN}</script></body></html>'
    )


def ways() -> dict[str, Way]:
    """Each page under its name, to be kept for ten minutes, but not by browsers."""
    return {
        f"/{row.name}": page(
            html(row.name),
            Content_Type="text/html; charset=utf-8",
            Cache_Control="max-age=0, s-maxage=600",
            ETag=f'"{row.name}"',
            **_joined(row),
        )
        for row in ROWS
    }


def _joined(row: Row) -> dict[str, str]:
    """Several lines of one name as one value: for policies that is the same (CSP Level 3, section 2.2)."""
    values: dict[str, str] = {}
    for name, value in row.policies:
        key = name.replace("-", "_")
        values[key] = f"{values[key]}, {value}" if key in values else value
    return values
