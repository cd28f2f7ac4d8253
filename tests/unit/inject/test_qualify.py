"""Which requests and responses get the tag, by their heads."""

import pytest

from edgeproxy.inject import qualify
from edgeproxy.inject.reasons import Skip
from edgeproxy.wire.messages import Request
from tests.support.caching import fields

PAGE = "Sec-Fetch-Dest: document | Accept: text/html"
HTML = "Content-Type: text/html; charset=utf-8"


def asked(
    text: str = PAGE, *, method: str = "GET", scheme: str = "https", host: str = "example.org", target: str = "/"
) -> Request:
    return Request(method, target, host, host, (1, 1), fields(text), scheme=scheme)


def test_a_browser_that_shows_a_page_gets_the_tag() -> None:
    assert qualify.of_request(asked()) is None
    assert qualify.of_request(asked(method="HEAD")) is None
    assert qualify.of_request(asked("Accept: text/html,*/*;q=0.8")) is None, "an older browser says no more than this"


REQUESTS = [
    (asked(method="POST"), Skip.METHOD),
    (asked("Accept: */*"), Skip.DESTINATION),
    (asked(""), Skip.DESTINATION),
    *((asked(f"Sec-Fetch-Dest: {dest} | Accept: text/html"), Skip.DESTINATION)
      for dest in ("iframe", "frame", "object", "embed", "empty", "script", "image", "Document")),
    (asked("Sec-Fetch-Dest: document | Sec-Fetch-Dest: empty"), Skip.DESTINATION),
    (asked(f"{PAGE} | HX-Request: true"), Skip.FRAGMENT),
    (asked(f"{PAGE} | Turbo-Frame: a"), Skip.FRAGMENT),
    (asked(f"{PAGE} | X-Requested-With: XMLHttpRequest"), Skip.FRAGMENT),
    (asked(scheme="http"), Skip.INSECURE),
    (asked(scheme="http", host="localhost.example.org"), Skip.INSECURE),
    (asked(scheme="http", host="10.0.0.1"), Skip.INSECURE),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), REQUESTS)
def test_requests_that_get_none(request_: Request, reason: Skip) -> None:
    assert qualify.of_request(request_) is reason


@pytest.mark.parametrize("host", ["localhost", "shop.localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_machine_is_as_good_as_https(host: str) -> None:
    assert qualify.of_request(asked(scheme="http", host=host)) is None


def test_a_proxy_in_front_may_say_that_it_is_https() -> None:
    assert qualify.of_request(asked(f"{PAGE} | X-Forwarded-Proto: https", scheme="http")) is None
    assert qualify.of_request(asked(f"{PAGE} | X-Forwarded-Proto: http", scheme="http")) is Skip.INSECURE


RESPONSES = [
    (200, HTML, False, None),
    (200, "Content-Type: TEXT/HTML", False, None),
    (200, "Content-Type: text/html;charset=shift_jis", False, None),
    (200, f"{HTML} | Content-Disposition: inline; filename=attachment.html", False, None),
    (200, f"{HTML} | Integrity-Policy: blocked-destinations=(style)", False, None),
    (200, "", False, Skip.NOT_HTML),
    (200, "Content-Type: application/xhtml+xml", False, Skip.NOT_HTML),
    (200, "Content-Type: text/html-sandboxed", False, Skip.NOT_HTML),
    (200, "Content-Type: text/plain; a=text/html", False, Skip.NOT_HTML),
    (206, HTML, False, Skip.STATUS),
    (404, HTML, False, Skip.STATUS),
    (401, HTML, False, Skip.STATUS),
    (200, f"{HTML} | Content-Disposition: Attachment; filename=a.html", False, Skip.ATTACHMENT),
    (200, f"{HTML} | Cache-Control: max-age=1, No-Transform", False, Skip.NO_TRANSFORM),
    (200, f"{HTML} | Content-Encoding: x-secret", True, Skip.CODING),
    *((200, f'Content-Type: text/html; charset="{name}"', False, Skip.CHARSET)
      for name in ("utf-16", "UTF-16LE", "utf16", "utf-32", "utf-7", "iso-2022-jp", "ISO-2022-KR", "hz-gb-2312", "IBM037")),
    (200, f"{HTML} | Integrity-Policy: blocked-destinations=(style script)", False, Skip.INTEGRITY),
]  # fmt: skip


@pytest.mark.parametrize(("status", "head", "coded", "reason"), RESPONSES)
def test_responses(status: int, head: str, coded: bool, reason: Skip | None) -> None:
    assert qualify.of_response(status, fields(head), coded=coded) is reason


def test_a_service_worker_of_the_site_itself_gives_itself_away() -> None:
    assert qualify.is_worker_script(asked("Service-Worker: script", target="/sw.js"))
    assert qualify.is_worker_script(asked("Sec-Fetch-Dest: serviceworker", target="/push/worker.js"))
    assert not qualify.is_worker_script(asked("Service-Worker: script", target="/.edge/sw.js"))
    assert not qualify.is_worker_script(asked("Sec-Fetch-Dest: worker", target="/worker.js"))
    assert not qualify.is_worker_script(asked())
