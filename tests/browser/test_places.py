"""The place of the tag as a real browser sees it: in any soup of markup that gets the tag, it is a script element of the page."""

import json
import random
from pathlib import Path

from edgeproxy.inject.injector import Injector, tag
from edgeproxy.inject.reasons import INJECTED
from tests.support.chromium import chromium
from tests.support.parts import need
from tests.support.scripted import page, scripted

# No frameset: it takes the place of a body that began without a tag, and of a script that stood in it.
SAMPLES = [
    "<!doctype html>",
    "<html>",
    "<head>",
    "</head>",
    "<body>",
    "<body a='>'>",
    "<title>",
    "</title>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "--!>",
    "<template>",
    "</template>",
    "<style>",
    "</style>",
    "<p x=",
    '"',
    "'",
    ">",
    "/",
    "=",
    " ",
    "<",
    "<!",
    "!",
    "-",
    "x",
    "<![CDATA[",
    "]]>",
    "<noscript>",
    "</noscript>",
    "</",
    "<meta http-equiv=",
    "\n",
    "<textarea>",
    "</textarea>",
    "<div>",
    "<link rel='a'>",
    "<iframe>",
    "</iframe>",
    "<select>",
    "</select>",
    "<table>",
    "<svg>",
    "<xmp>",
    "</xmp>",
    "<script ",
    "<body ",
    "</head ",
    "<a b=c",
    "<option>",
]
ENDS = ("</head>", "<body>", "</script></head>", "--></head>", "</title><body>")
PAGES = 200
MISSING = """(pages => pages.filter(page => {
  const frame = document.body.appendChild(document.createElement("iframe")), inner = frame.contentDocument;
  inner.open(); inner.write(page); inner.close();
  const found = [...frame.contentDocument.scripts].filter(each => each.getAttribute("src") === "/.edge/ui/register.js");
  const is_there = found.length === 1 && found[0] instanceof frame.contentWindow.HTMLScriptElement && found[0].defer;
  frame.remove();
  return !is_there;
}))(%s)"""


def soups() -> list[str]:
    """Pages with the tag in them."""
    chance, pages = random.Random(17), list[str]()
    while len(pages) < PAGES:
        words = [chance.choice(SAMPLES) for _ in range(chance.randint(3, 22))]
        data = ("<!doctype html>" + "".join(words) + chance.choice(ENDS)).encode()
        injector = Injector(tag())
        out = injector.feed(data) + injector.finish()
        if injector.outcome == INJECTED:
            pages.append(out.decode())
    return pages


async def test_the_tag_is_a_script_wherever_it_is_put(tmp_path: Path) -> None:
    need("chromium")
    ways = {"/": page("<!doctype html><body>", Content_Type="text/html"), "/.edge/ui/register.js": page("")}
    async with scripted(ways) as origin, chromium(tmp_path) as browser:
        await browser.open(f"{origin.url}/")
        pages = soups()
        for start in range(0, PAGES, 100):
            assert await browser.ask(MISSING % json.dumps(pages[start : start + 100])) == []
        hidden = f"<!doctype html><title>{tag().decode()}</title>"
        assert await browser.ask(MISSING % json.dumps([hidden])) == [hidden], "it would be seen"
