"""The page at `/` of the admin side: name, version, health, and where the rest is. It needs no token, so it shows no secret.

Owns: its HTML and its policy. Must not load anything from elsewhere: it has to work when nothing else does.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #17202a; --soft: #5d6b78; --paper: #f6f7f9; --card: #fff; --line: #dfe4ea;
  --good: #14804a; --bad: #c0392b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf2; --soft: #93a1af; --paper: #11161c; --card: #1a2129; --line: #2c3742; --good: #4cc38a; --bad: #ff7a6b; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 2rem 1rem;
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 34rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; }
h1 { margin: 0; font-size: 1.4rem; letter-spacing: -.01em; }
.soft { color: var(--soft); margin: .1rem 0 1.5rem; }
.state { display: flex; align-items: center; gap: .6rem; font-weight: 600; }
.state::before { content: ""; width: .8rem; height: .8rem; border-radius: 50%; background: currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); }
table { width: 100%; border-collapse: collapse; margin: 1rem 0 1.5rem; }
th, td { text-align: left; padding: .45rem 0; border-top: 1px solid var(--line); font-weight: 400; }
th { color: var(--soft); width: 40%; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; }
nav a { color: inherit; text-decoration: none; border: 1px solid var(--line); border-radius: 8px; padding: .35rem .75rem; }
nav a:hover, nav a:focus-visible { border-color: var(--soft); }
code { font: .9em ui-monospace, monospace; }
""".strip()

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy: the one style sheet above and nothing else."""


def status_page(node: str, version: str, healthy: bool, ready: bool, checks: Mapping[str, object]) -> str:
    """The page. `checks`: what was looked at, and how it stands."""
    word, tone = ("Healthy", "good") if healthy else ("Not healthy", "bad")
    rows = {"Takes traffic": "yes" if ready else "no", **checks}
    table = "".join(
        f"<tr><th scope=row>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(node)} · edgeproxy</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(node)}</h1>
<p class="soft">edgeproxy {escape(version)}</p>
<p class="state {tone}">{word}</p>
<table>{table}</table>
<nav aria-label="What is here">
<a href="/healthz">Health</a>
<a href="/readyz">Readiness</a>
<a href="/metrics">Metrics</a>
<a href="/api/v1/openapi.json">API</a>
</nav>
<p class="soft">More: <code>edgeproxy status</code> on this machine.</p>
</main>
</body>
</html>
"""
