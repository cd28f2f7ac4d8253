"""The place in a page, byte for byte: each page whole, in single bytes, and cut in two at every byte.

`^` in a page of the table is where the tag goes; a page without one has no place, for the reason beside it.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.inject.injector import Injector, tag
from edgeproxy.inject.reasons import INJECTED, Skip
from edgeproxy.inject.scanner import DOCUMENT_WITHIN, SEARCH_LIMIT, Scanner

TAG = tag()
OURS = TAG.decode()

PLACES = [
    # plain, with what may be left out or written otherwise
    "<!doctype html><html><head><title>a</title>^</head><body></body></html>",
    "<!DOCTYPE HTML><HTML><HEAD><TITLE>A</TITLE>^</HEAD><BODY></BODY></HTML>",
    "<html><head>^</head >",
    "<html><head>^</head\n>",
    "<html><head>^</head/>",
    "<html><head>^</head x=1>",
    '<html><head>^</head x=">">',
    "<!doctype html>^</head>",
    "<!doctype html><title>x</title><body>^<p>y",
    '<!doctype html><body class="a">^',
    "<!doctype html><BODY\nonload='if (a > b) c()' data-x=\"</head>\">^<p>",
    "<!doctype html><body a=b>^",
    "<!doctype html><body a = b / c>^",
    "<!doctype html><body a=>^",
    "<!doctype html><body =a>^x>",
    '<!doctype html><body =>^">',
    '<!doctype html><body a==">^">',
    "<!doctype html><body a='x'b=\"y>\"c>^",
    '<!doctype html><body ">^">',
    "<!doctype html><body/>^",
    "<!doctype html><body>^<body>",
    "\n \t<!-- a licence --><!doctype html><head>^</head>",
    '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html><head>^</head>',
    "\ufeff<!doctype html><head>^</head>",
    "<html lang=en><head profile='x>y'>^</head>",
    "<html><body>^</body><head></head>",
    # comments
    "<!doctype html><head><!-- </head> -->^</head>",
    "<!doctype html><head><!-- <body> --!>^</head>",
    "<!doctype html><head><!-->^</head>",
    "<!doctype html><head><!--->^</head>",
    "<!doctype html><head><!---->^</head>",
    "<!doctype html><head><!--!></head>-->^</head>",
    "<!doctype html><head><!---!></head>-->^</head>",
    "<!doctype html><head><!----!>^</head>",
    "<!doctype html><head><!----->^</head>",
    "<!doctype html><head><!-- -- > </head> - -> -->^</head>",
    "<!doctype html><head><!-- <!-->^</head> -->",
    "<!doctype html><head><!-- <!--->^</head>",
    "<!-- <html><head></head><body> --><html>^</head>",
    "<!doctype html><!--[if IE]><head></head><![endif]--><head>^</head>",
    "<!doctype html><![if !IE]><head>^</head><![endif]>",
    # what counts as a comment up to the next ">"
    "<!doctype html><head><![CDATA[ </head>]]>^</head>",
    "<!doctype html><head><?php echo '</head'?>^</head>",
    "<!doctype html><head></ head></>^</head>",
    "<!doctype html><head></3>^</head>",
    "<!x><!doctype html><head>^</head>",
    # text that is not markup
    "<!doctype html><head><title></head><body></title>^</head>",
    "<!doctype html><head><title></titlex></head></TITLE\n>^</head>",
    "<!doctype html><head><title/></head></title/>^</head>",
    "<!doctype html><textarea></head><body></textarea>^</head>",
    "<!doctype html><head><style>a::after{content:'</head>'}</style>^</head>",
    "<!doctype html><head><style><!-- </style>^</head>",
    "<!doctype html><head><noscript><meta http-equiv=content-security-policy></head></noscript>^</head>",
    "<!doctype html><iframe></head><body></iframe>^</head>",
    "<!doctype html><xmp></head></xmp><noembed></head></noembed><noframes><body></noframes>^</head>",
    # scripts
    "<!doctype html><head><script>'</head><body>'</script>^</head>",
    "<!doctype html><head><script>a</scripty></head></script >^</head>",
    "<!doctype html><head><script><!-- </script>^</head>",
    "<!doctype html><head><script><!-- <script></script></head> </script>^</head>",
    "<!doctype html><head><script><!-- <script></script></head> --></script>^</head>",
    "<!doctype html><head><script><!-- <script> --></script>^</head>",
    "<!doctype html><head><script><!-- <SCRIPT/ </ScRiPt> </head></SCRIPT>^</head>",
    "<!doctype html><head><script><!-- <scripty></script>^</head>",
    "<!doctype html><head><script><!--><script></script>^</head>",
    "<!doctype html><head><script><!---><script></script>^</head>",
    "<!doctype html><head><script><!-- <script><!-- </script></head></script>^</head>",
    "<!doctype html><head><script>x --> <!- <script></script>^</head>",
    "<!doctype html><head><script src='a.js?</script></head>'></script>^</head>",
    "<!doctype html><head><SCRIPT SRC=/x.js></SCRIPT>^</head>",
    # templates
    "<!doctype html><head><template><head></head><body></template>^</head>",
    "<!doctype html><head><template><template></template></head></template>^</head>",
    "<!doctype html><head></template>^</head>",
    "<!doctype html><head><template><script></template></script></head></template>^</head>",
    "<!doctype html><template><meta http-equiv=content-security-policy></template><body>^",
    "<!doctype html><template><svg></svg></template><body>^",
    # attributes
    '<!doctype html><head><meta content="</head>">^</head>',
    "<!doctype html><head><meta content='<body>' x=\"'\">^</head>",
    "<!doctype html><head><link href=a>b>^</head>",
    "<!doctype html><head><link href=a'b\">^</head>",
    "<!doctype html><head><link href = '>' title= \">\">^</head>",
    "<!doctype html><head><meta name=content-security-policy content=x>^</head>",
    "<!doctype html><head><meta http-equiv=refresh http-equiv=content-security-policy>^</head>",
    # names that only begin alike, and stray signs
    "<!doctype html><header></header></headline><bodyguard>^</head>",
    "<!doctype html><head>a < b <3 << ^</head>",
    "<!doctype html><head>^</head><body></head>",
    "<!doctype html><head><html amp-not><link amp>^</head>",
    "<!doctype html><head><script src=/.edge/ui/register.jsx></script>^</head>",
    "<!doctype html><head><a href=/.edge/ui/register.js>^</head>",
    f"<!doctype html><head><!-- {OURS} -->^</head>",
]

NONE = [
    ("", Skip.NOT_A_DOCUMENT),
    ("plain text", Skip.NOT_A_DOCUMENT),
    ('{"json": "</head>"}', Skip.NOT_A_DOCUMENT),
    ("<div>a fragment</div>", Skip.NOT_A_DOCUMENT),
    ("<title>x</title></head>", Skip.NOT_A_DOCUMENT),
    ("<body><p>x", Skip.NOT_A_DOCUMENT),
    ("<svg><head></svg>", Skip.NOT_A_DOCUMENT),
    ("<!-- <html> <!doctype html> --><body>", Skip.NOT_A_DOCUMENT),
    ("<script>'<html>'</script></head>", Skip.NOT_A_DOCUMENT),
    ("<template><html></template></head>", Skip.NOT_A_DOCUMENT),
    ("<!doctyp html></head>", Skip.NOT_A_DOCUMENT),
    (" " * DOCUMENT_WITHIN + " <!doctype html></head>", Skip.NOT_A_DOCUMENT),
    (f"<!--{' ' * DOCUMENT_WITHIN}--><html></head>", Skip.NOT_A_DOCUMENT),
    ("<!doctype html><p>no head, no body", Skip.NO_PLACE),
    ("<!doctype html><head><title></head><body>", Skip.NO_PLACE),
    ("<!doctype html><head><script><!-- <script></script></head><body>", Skip.NO_PLACE),
    ("<!doctype html><head><!-- </head><body>", Skip.NO_PLACE),
    ("<!doctype html><template></head><body>", Skip.NO_PLACE),
    ('<!doctype html><body class="unfinished></head>', Skip.NO_PLACE),
    ("<!doctype html></head", Skip.NO_PLACE),
    ("<!doctype html><body", Skip.NO_PLACE),
    ("<!doctype html><svg></head></svg>", Skip.NO_PLACE),
    ("<!doctype html><plaintext></head>", Skip.NO_PLACE),
    ("<!doctype html><frameset></frameset>", Skip.NO_PLACE),
    ("<!doctype html><head><meta http-equiv=Content-Security-Policy content=x></head>", Skip.META_CSP),
    ("<!doctype html><head><META content=x HTTP-EQUIV=' content-security-POLICY\n'></head>", Skip.META_CSP),
    ("<!doctype html><head><meta http-equiv=content-security&#45;policy></head>", Skip.META_CSP),
    ("<!doctype html><head><meta http-equiv='content-security-policy' http-equiv=refresh></head>", Skip.META_CSP),
    ("<!doctype html><html amp><head></head>", Skip.AMP),
    ("<!doctype html><html lang=en AMP4ADS=''></head>", Skip.AMP),
    ("<!doctype html><html \u26a1><head></head>", Skip.AMP),
    ("<!doctype html><html \u26a1\ufe0f4email lang=en></head>", Skip.AMP),
    (f"<!doctype html><head>{OURS}</head>", Skip.PRESENT),
    ('<!doctype html><head><script nonce=a src="https://a.test/.edge/ui/register.js?x" defer></script></head>', Skip.PRESENT),
    (f"<!doctype html><body>{OURS}<p>", Skip.PRESENT),
    (f"<!doctype html><body>\n{tag('abc').decode()}", Skip.PRESENT),
    (f"<!doctype html>{OURS}<body>", Skip.PRESENT),
]


def pieces_of(data: bytes) -> list[list[bytes]]:
    """Whole, in single bytes, and cut at every byte (long ones at some)."""
    cuts = range(1, len(data)) if len(data) < 400 else range(1, len(data), 97)
    return [[data], [data[at : at + 1] for at in range(len(data))], *([data[:cut], data[cut:]] for cut in cuts)]


def injected(pieces: list[bytes], inserted: bytes = TAG) -> tuple[bytes, str | None]:
    injector = Injector(inserted)
    out = b"".join([*(injector.feed(piece) for piece in pieces), injector.finish()])
    return out, injector.outcome


@pytest.mark.parametrize("marked", PLACES)
def test_the_tag_goes_exactly_here_wherever_the_page_is_cut(marked: str) -> None:
    before, mark, after = marked.encode().partition(b"^")
    assert mark
    for pieces in pieces_of(before + after):
        assert injected(pieces) == (before + TAG + after, INJECTED), pieces


@pytest.mark.parametrize(("page", "reason"), NONE)
def test_a_page_without_a_place_goes_as_it_came(page: str, reason: Skip) -> None:
    data = page.encode()
    for pieces in pieces_of(data):
        assert injected(pieces) == (data, reason), pieces


@pytest.mark.parametrize("marked", PLACES)
def test_a_page_that_has_the_tag_gets_no_second_one(marked: str) -> None:
    once, _ = injected([marked.replace("^", "").encode()])
    assert injected([once]) == (once, Skip.PRESENT)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_characters_are_left_alone(coding: str) -> None:
    data = "<!doctype html><html><head></head><body></body>".encode(coding)
    for pieces in pieces_of(data):
        out, outcome = injected(pieces)
        assert out == data
        assert outcome in (Skip.CHARSET, Skip.NOT_A_DOCUMENT)


@pytest.mark.parametrize("coding", ["shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "windows-1251"])
def test_other_characters_do_not_disturb(coding: str) -> None:
    text = {"windows-1251": "Привет", "euc_kr": "안녕"}.get(coding, "表示能十")
    before, after = f"<!doctype html><title>{text}</title>".encode(coding), f"</head>{text}".encode(coding)
    assert injected([before + after]) == (before + TAG + after, INJECTED)


def test_what_is_held_is_small_however_long_the_page_is() -> None:
    filler = b"<link rel=a href='" + b"x" * 70_000 + b"'>" + b"<style>" + b"y" * 100_000 + b"</style><!--" + b"z" * 9000 + b"-->"
    page = b"<!doctype html><head>" + filler + b"</head>" + b"w" * 1_000_000
    injector, sent, most, fed = Injector(TAG), 0, 0, 0
    for at in range(0, len(page), 1000):
        piece = page[at : at + 1000]
        fed += len(piece)
        sent += len(injector.feed(piece))
        most = max(most, fed - sent)
    assert most < 300
    assert sent == len(page) + len(TAG)


def test_the_search_ends() -> None:
    page = b"<!doctype html><head><style>" + b"x" * SEARCH_LIMIT + b"</style></head>"
    assert injected([page]) == (page, Skip.TOO_FAR)
    assert injected([page[:1000], page[1000:]]) == (page, Skip.TOO_FAR)
    endless = Scanner()
    endless.feed(b"<!doctype html><!--")
    for _ in range(2 * SEARCH_LIMIT // 65_536 + 1):
        endless.feed(b"-" * 65_536)
    assert endless.verdict is Skip.TOO_FAR
    name = b"<!doctype html><" + b"a" * 5000
    assert injected([name]) == injected([name[at : at + 7] for at in range(0, len(name), 7)]) == (name, Skip.TOO_FAR)


SAMPLES = (
    "<!doctype html>|<html>|<head>|</head>|<body>|<body a='>'>|<title>|</title>|<script>|</script>"
    "|<!--|-->|--!>|<template>|</template>"
    "|<style>|</style>|<svg>|<p x=|\"|'|>|/|=| |<|<!|!|-|x|<![CDATA[|]]>|<noscript>|</noscript>|</|<meta http-equiv=|\n"
)
WORDS = st.lists(st.sampled_from([*SAMPLES.split("|"), OURS]), max_size=30)


@given(WORDS, st.lists(st.integers(0, 400), max_size=6))
def test_nothing_but_the_tag_is_added_and_cuts_do_not_matter(words: list[str], cuts: list[int]) -> None:
    page = ("<!doctype html>" + "".join(words)).encode()
    borders = sorted({min(cut, len(page)) for cut in cuts})
    pieces = [page[start:end] for start, end in zip([0, *borders], [*borders, len(page)], strict=True)]
    out, outcome = injected(pieces)
    assert (out, outcome) == injected([page])
    if outcome == INJECTED:
        assert len(out) == len(page) + len(TAG)
        place = next(at for at in range(len(page) + 1) if out == page[:at] + TAG + page[at:])
        assert out[:place] + out[place + len(TAG) :] == page
        assert injected([out]) == (out, Skip.PRESENT)
    else:
        assert out == page


@given(st.binary(max_size=600), st.integers(0, 600))
def test_any_bytes_come_through(data: bytes, cut: int) -> None:
    out, outcome = injected([data[:cut], data[cut:]])
    assert (out, outcome) == injected([data])
    assert out == data or outcome == INJECTED


def test_the_tag_is_small_with_every_nonce_that_it_takes() -> None:
    assert tag() == b'<script src="/.edge/ui/register.js" defer></script>'
    assert tag("r4nd0m") == b'<script src="/.edge/ui/register.js" nonce="r4nd0m" defer></script>'
    assert len(tag("a" * 88)) <= 160
