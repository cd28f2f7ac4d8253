"""What `edgeproxy demo` prints: where everything is, and what to try.

Owns: the text. Must not start anything.
"""

import os
import shutil
from pathlib import Path


def program_name(invoked: str) -> str:
    """What to type for this program, which was started as `invoked`: its name where the path has it, else where it lies."""
    path, found = Path(invoked), shutil.which("edgeproxy")
    if path.name != "edgeproxy" or not path.is_file() or (found is not None and path.samefile(found)):
        return "edgeproxy"
    return os.path.relpath(path)


def banner(edge_url: str, origin_url: str, admin_url: str, *, program: str = "edgeproxy") -> str:
    """The list of what to try, with commands that can be pasted, of `program`; URLs without a slash at the end."""
    # GET, and not HEAD: what was only asked for with HEAD is not stored.
    look = "curl -s -o /dev/null -D -"
    steps = (
        ("Browse it", f"open {edge_url}/ and look at the foot of each page: it says when the origin rendered it"),
        ("A miss; again, a hit", f"{look} {edge_url}/gallery | grep -iE '^(age|cache-status|edge-block|repr-digest)'"),
        ("Break the origin", f"curl -d mode=down {edge_url}/break/set      (or 500, slow, truncated; or open {edge_url}/break)"),
        ("Still there", f"{look} {edge_url}/gallery | grep -iE '^(HTTP|age|cache-status|proxy-status)'"),
        ("Mend it", f"curl -d mode=ok {edge_url}/break/set"),
        (
            "Compressed",
            f"{look} -H 'Accept-Encoding: br, gzip' {edge_url}/articles/fog-signals | grep -iE '^(content-encoding|vary|etag)'",
        ),
        ("A range of a large file", f"curl -s -r 0-99 -D - -o /dev/null {edge_url}/large.bin"),
        ("An event stream", f"curl -N {edge_url}/events"),
        ("A WebSocket", f"open {edge_url}/live and say something"),
        ("Explain an answer", f"{program} explain {edge_url}/gallery"),
        ("Purge by tag", f"{program} purge --tag articles"),
        ("The history of a page", f"{program} ledger history {edge_url}/gallery"),
        ("The site as it was", f"{program} rollback --to '1m ago' (with the origin broken too), then {program} release"),
        ("Look at the past", f"{program} preview --at '1m ago'"),
        ("Check every byte", f"{program} ledger verify"),
        ("Check it from outside", f"{program} ledger verify --url {edge_url} --bodies"),
        ("Without the edge", "open some pages, end this with Ctrl-C, and reload them: the browser shows what it has proved"),
        ("Counters", f"curl -s {admin_url}/metrics | grep edgeproxy_requests_total"),
        ("Traces", "set OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 and start again (Jaeger takes it as it is)"),
    )
    width = max(len(name) for name, _ in steps)
    lines = [
        "",
        "  The demo is running.",
        "",
        f"    the edge      {edge_url}/",
        f"    the origin    {origin_url}/",
        f"    admin         {admin_url}/",
        "",
        "  To try:",
        "",
        *(f"    {number:2}  {name.ljust(width)}  {what}" for number, (name, what) in enumerate(steps, start=1)),
        "",
        "  Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)
