"""Coded forms: only where they help, always the same bytes, off the event loop, and bounded."""

import asyncio
import gzip
import os
import threading
import zlib

import brotli
import pytest
import zstandard

from edgeproxy.ledger.digests import sha256
from edgeproxy.storage import forms
from edgeproxy.storage.forms import CODERS, LARGEST, SMALLEST, FormMaker, is_text_like, make_forms

TEXT = b"".join(b"<li>line %d of a page that repeats itself</li>\n" % number for number in range(500))

DECODE = {"br": brotli.decompress, "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data), "gzip": gzip.decompress}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/html; charset=utf-8", True),
        ("TEXT/CSS", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("image/svg+xml", True),
        ("application/wasm", True),
        ("image/png", False),
        ("image/jpeg", False),
        ("font/woff2", False),
        ("video/mp4", False),
        ("application/zip", False),
        ("application/octet-stream", False),
        ("text/event-stream", False),
        ("", False),
    ],
)
def test_which_media_types_get_smaller(content_type, expected):
    assert is_text_like(content_type) is expected


@pytest.mark.parametrize("coding", CODERS)
def test_form_decodes_to_the_body_and_is_always_the_same(coding):
    form = CODERS[coding](TEXT)
    assert DECODE[coding](form) == TEXT
    assert len(form) < len(TEXT) / 4
    assert CODERS[coding](TEXT) == form


def test_gzip_has_no_time_and_no_name():
    form = forms.gzip(TEXT)
    assert form[3] == 0, "RFC 1952 section 2.3.1: no optional fields"
    assert form[4:8] == bytes(4), "MTIME"


def test_zstd_window_fits_a_content_coding():
    body = os.urandom(LARGEST // 2) + bytes(LARGEST // 2)
    parameters = zstandard.get_frame_parameters(forms.zstd(body))
    assert parameters.window_size <= 8 << 20, "RFC 9659"
    assert parameters.content_size == len(body)


def test_form_that_is_not_a_tenth_smaller_is_dropped():
    assert make_forms(os.urandom(4000)) == {}
    assert set(make_forms(TEXT)) == {"br", "zstd", "gzip"}
    barely = os.urandom(3800) + bytes(200)
    assert all(len(form) <= 3600 for form in make_forms(barely).values())


@pytest.mark.parametrize(("length", "expected"), [(SMALLEST - 1, False), (SMALLEST, True), (LARGEST, True), (LARGEST + 1, False)])
async def test_length_bounds(length, expected):
    maker = FormMaker()
    assert maker.is_wanted("text/html", length) is expected
    assert not maker.is_wanted("image/png", length)
    assert maker.request(sha256(b""), bytes(length), "text/html", lambda made: None) is expected
    await maker.close()


async def asked(maker: FormMaker, body: bytes, *, key: bytes | None = None) -> "asyncio.Future[dict[str, bytes]]":
    done: asyncio.Future[dict[str, bytes]] = asyncio.get_running_loop().create_future()
    if not maker.request(sha256(key or body), body, "text/html", done.set_result):
        done.cancel()
    return done


async def test_callback_gets_the_forms_in_the_event_loop():
    maker = FormMaker()
    threads = []
    done = asyncio.Event()

    def ready(made):
        threads.append(threading.current_thread())
        assert {coding: DECODE[coding](data) for coding, data in made.items()} == dict.fromkeys(CODERS, TEXT)
        done.set()

    assert maker.request(sha256(TEXT), TEXT, "text/html", ready)
    await asyncio.wait_for(done.wait(), 10)
    assert threads == [threading.current_thread()]
    assert (maker.made, maker.waiting_bytes) == (3, 0)
    await maker.close()


@pytest.fixture
def held(monkeypatch):
    gate = threading.Event()
    calls = []

    def slow(body):
        calls.append(body)
        gate.wait(10)
        return {"gzip": zlib.compress(body)}

    monkeypatch.setattr(forms, "make_forms", slow)
    yield gate, calls
    gate.set()


async def test_same_body_asked_for_twice_is_made_once(held):
    gate, calls = held
    maker = FormMaker(threads=1)
    first, second = await asked(maker, TEXT), await asked(maker, TEXT)
    gate.set()
    assert await first == await second
    assert len(calls) == 1
    await maker.close()


async def test_full_queue_skips_and_counts(held):
    gate, _ = held
    maker = FormMaker(threads=1, max_waiting=2)
    answers = [await asked(maker, TEXT, key=b"%d" % number) for number in range(5)]
    assert [answer.cancelled() for answer in answers] == [False, False, True, True, True]
    assert maker.skipped == 3
    gate.set()
    await asyncio.gather(*answers[:2])
    again = await asked(maker, TEXT, key=b"4")
    assert await again
    await maker.close()


async def test_bytes_that_wait_are_bounded(held):
    gate, _ = held
    maker = FormMaker(threads=1, max_waiting_bytes=2 * len(TEXT))
    answers = [await asked(maker, TEXT, key=b"%d" % number) for number in range(3)]
    assert [answer.cancelled() for answer in answers] == [False, False, True]
    gate.set()
    await asyncio.gather(*answers[:2])
    await maker.close()


async def test_close_drops_what_waits_and_refuses_more(held):
    gate, calls = held
    maker = FormMaker(threads=1)
    answers = [await asked(maker, TEXT, key=b"%d" % number) for number in range(4)]
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await maker.close()
    await asyncio.sleep(0)
    assert len(calls) <= 2
    assert not answers[-1].done()
    assert (await asked(maker, TEXT)).cancelled()
