"""Rows go in by many and come out in pages, the same."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeproxy.ledger.replay import RawRow
from edgeproxy.storage.ledger_rows import PAGE_OF_ROWS, connect, create, insert_rows, read_pages, read_rows, row_of


def _rows(count: int, start: int = 0) -> list[RawRow]:
    return [
        RawRow(
            height,
            b"block %d" % height,
            b"%032d" % height,
            b"head %d" % height if height % 3 else None,
            (b"site", b"url %d" % height, b"[]") if height % 5 else None,
        )
        for height in range(start, start + count)
    ]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "ledger.sqlite")) as connection:
        create(connection)
        yield connection


@pytest.mark.parametrize("count", [0, 1, 3, 4, 21, 255, 256, 341, 600])
def test_any_number_of_rows_goes_in_whole(connection: sqlite3.Connection, count: int) -> None:
    rows = _rows(count)
    insert_rows(connection, rows)
    assert list(read_rows(connection)) == rows


def test_a_row_that_is_there_is_never_replaced(connection: sqlite3.Connection) -> None:
    insert_rows(connection, _rows(10))
    with pytest.raises(sqlite3.IntegrityError):
        insert_rows(connection, _rows(300, start=9))
    assert [row for row in read_rows(connection) if row.height < 10] == _rows(10)


def test_pages_begin_at_multiples_of_their_size(connection: sqlite3.Connection) -> None:
    rows = _rows(2 * PAGE_OF_ROWS + 7)
    insert_rows(connection, rows)
    pages = list(read_pages(connection, 5))
    assert [page[0][0] for page in pages] == [5, PAGE_OF_ROWS, 2 * PAGE_OF_ROWS]
    assert [row_of(columns) for page in pages for columns in page] == rows[5:]
    assert list(read_pages(connection, 5, 5)) == []


def test_a_value_of_another_type_is_read_as_nothing() -> None:
    assert row_of((7, 1, None, 2.5, 3, b"value", None)) == RawRow(7, b"", b"", None, (b"", b"value", b""))
    assert row_of((7, b"raw", b"leaf", b"head", None, b"value", b"[]")).names is None
