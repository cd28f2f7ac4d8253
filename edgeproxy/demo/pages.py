"""The pages of the demo: which there are, how long each may be kept, and how one is put together.

Owns: the table of pages and their Cache-Control. They differ on purpose, so that one site shows what a cache can do.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

from edgeproxy.clock import Instant
from edgeproxy.demo.breakage import Mode

SITE: Final = Path(__file__).parent / "site"
BROWSER_ASKS: Final = "max-age=0"
"""For the browser: ask the edge each time. With it stands CDN-Cache-Control, which is for the edge alone (RFC 9213)."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `cdn`: CDN-Cache-Control, where it differs from `cache_control`; `tags`: Surrogate-Key; `shows`: one line for
    the foot, in plain words."""

    path: str
    file: str
    title: str
    description: str
    cache_control: str
    shows: str
    cdn: str | None = None
    tags: str = ""
    validator: bool = True


_ARTICLE_SHOWS: Final = "Fresh in the edge for a minute, then asked for again with If-None-Match"


def _article(name: str, title: str, description: str) -> Page:
    return Page(
        f"/articles/{name}",
        f"{name}.html",
        title,
        description,
        BROWSER_ASKS,
        _ARTICLE_SHOWS,
        "max-age=60",
        f"articles article-{name}",
    )


PAGES: Final = (
    Page(
        "/",
        "home.html",
        "A small almanac of lights",
        "Lighthouses: optics, rhythms, keepers, fog.",
        BROWSER_ASKS,
        "Fresh for ten seconds, then for a minute the old copy goes out at once while the edge fetches the new one",
        "max-age=10, stale-while-revalidate=60",
        "home",
    ),
    _article("fresnel-lens", "A lens with its middle missing", "How Fresnel’s lens throws a lamp to the horizon."),
    _article("reading-a-light", "Reading a light", "The short notation of lights on sea charts."),
    _article("keepers-night", "The keeper’s night", "What kept a lamp lit, and what the logbook was for."),
    _article("fog-signals", "When the light fails", "Bells, guns, horns: signals for fog."),
    Page(
        "/gallery",
        "gallery.html",
        "Gallery",
        "Ten pictures of lights.",
        "max-age=300",
        "Fresh for five minutes, in the browser as in the edge",
        tags="gallery",
    ),
    Page(
        "/logbook",
        "logbook.html",
        "Logbook",
        "A line a minute.",
        BROWSER_ASKS,
        "Kept, but checked with the origin before each use; a new validator every minute",
    ),
    Page(
        "/live",
        "live.html",
        "Live",
        "An event stream, a WebSocket, JSON and a large file.",
        "max-age=60",
        "The page is fresh for a minute; its streams pass through",
    ),
    Page(
        "/visit",
        "visit.html",
        "Visitors’ book",
        "A page for one visitor.",
        "private, no-store",
        "Never kept: it is private and sets a cookie",
        validator=False,
    ),
    Page(
        "/break",
        "break.html",
        "Break the origin",
        "The switch that breaks the origin and mends it.",
        "no-store",
        "Never kept, and answered in every mode",
        validator=False,
    ),
)
MISSING: Final = Page(
    "", "missing.html", "Not found", "No such page.", "max-age=5", "An error page, kept for five seconds", validator=False
)
FAILED: Final = Page("", "failed.html", "Error", "The origin fails.", "no-store", "An error, not kept", validator=False)

_NAV: Final = (
    ("/", "Almanac"),
    ("/gallery", "Gallery"),
    ("/logbook", "Logbook"),
    ("/live", "Live"),
    ("/visit", "Visit"),
    ("/break", "Break it"),
)

MODES: Final = {
    Mode.OK: ("All well", "Answers as it should. After a break, the first request brings fresh content again."),
    Mode.DOWN: ("Down", "Resets every connection without a word. The edge serves what it has, and says so in Cache-Status."),
    Mode.ERROR: ("Errors", "Answers 500 to everything. The good copies are not replaced; they stand in."),
    Mode.SLOW: ("Slow", "Waits ten seconds before each answer. Whatever may be stale need not wait."),
    Mode.TRUNCATED: ("Truncated", "Ends each answer halfway. Half a page is never kept, and never passed off as a whole one."),
}

_WINDS: Final = ("N 3", "NNW 4", "NW 5", "W 6", "WSW 5", "SW 4", "S 3", "variable 2")
_SEEN: Final = (
    "Two trawlers, outbound",
    "Nothing",
    "Packet steamer, on time",
    "A barque under easy sail",
    "Fog bank to the west",
    "Seals on the ledge",
    "Tender with oil and letters",
    "Lamp trimmed",
    "Weight wound",
    "Gulls",
    "Northern light answers",
)


@cache
def text_of(name: str) -> str:
    """A file of the site; read once."""
    return (SITE / name).read_text(encoding="utf-8")


def render(page: Page, now: Instant, **slots: str) -> str:
    """The whole HTML of `page`. `slots` are HTML for the page's own places."""
    moment = datetime.fromtimestamp(now // 1000, UTC)
    field = f"Cache-Control: {page.cache_control}" + (f"<br>CDN-Cache-Control: {page.cdn}" if page.cdn else "")
    # the switch has to be readable while nothing else is answered, so it carries its styles
    styles = (
        f"<style>{text_of('site.css')}</style>" if page.path == "/break" else '<link rel="stylesheet" href="/static/site.css">'
    )
    return _filled(
        text_of("layout.html"),
        title=escape(page.title),
        description=escape(page.description),
        styles=styles,
        nav="".join(_nav_link(path, name, page.path) for path, name in _NAV),
        body=_filled(text_of(f"pages/{page.file}"), **slots),
        rendered=f"{moment:%H:%M:%S} UTC",
        rendered_iso=f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        policy=f"{escape(page.shows)}.<br><code>{field}</code>",
    )


def validator(page: Page, now: Instant) -> str:
    """A weak ETag: the time at the foot differs in each rendering of the same page. The logbook's is new each minute."""
    minute = str(now // 60_000) if page.path == "/logbook" else ""
    seen = hashlib.sha256((text_of("layout.html") + text_of(f"pages/{page.file}") + minute).encode())
    return f'W/"{seen.hexdigest()[:16]}"'


def mode_cards(current: Mode) -> str:
    """The choices of the switch, as forms that work without a script."""
    return "".join(_mode_card(mode, mode is current) for mode in MODES)


def _mode_card(mode: Mode, in_force: bool) -> str:
    name, text = MODES[mode]
    button = "<button disabled>In force</button>" if in_force else f'<button name="mode" value="{mode}">Set</button>'
    css = "mode now" if in_force else "mode"
    return f'<form class="{css}" method="post" action="/break/set"><h3>{name}</h3><p>{text}</p>{button}</form>'


def log_entries(now: Instant) -> str:
    """Ten rows of the logbook, newest first; each minute has its own, always the same."""
    minute = now // 60_000
    return "".join(_log_entry(at) for at in range(minute, minute - 10, -1))


def _log_entry(minute: int) -> str:
    at = datetime.fromtimestamp(minute * 60, UTC)
    wind, seen = _WINDS[minute // 3 % len(_WINDS)], _SEEN[minute * 7 % len(_SEEN)]
    return f"<tr><td>{at:%H:%M}</td><td>{wind}</td><td>{seen}</td></tr>"


def greeting(visits: int) -> str:
    """What the visitors' book says at the `visits`-th visit."""
    return "Welcome ashore" if visits == 1 else f"Welcome back, for the {_ordinal(visits)} time"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _nav_link(path: str, name: str, current: str) -> str:
    here = ' aria-current="page"' if path == current or (path == "/" and current.startswith("/articles/")) else ""
    return f'<a href="{path}"{" class=break" if path == "/break" else ""}{here}>{name}</a>'


def _filled(template: str, **slots: str) -> str:
    for name, text in slots.items():
        template = template.replace("{{" + name + "}}", text)
    return template
