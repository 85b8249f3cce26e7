"""Reads the rows of a CSV file, with errors that name file and row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from model_patching.data.source import BadRecord, SourceError


def read_header(path: str | Path) -> list[str]:
    """Names of the columns.

    Raises:
        SourceError: the file can't be read, or it is empty.
    """
    for _, header in _rows(path):
        return header
    raise SourceError(f"{path}: is empty; a header and a row for each image are needed")


def read_rows(path: str | Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | BadRecord]]:
    """The rows of a UTF-8 file with a header and commas; quoted fields may hold commas, quotes and line ends.

    Args:
        path: the file.
        columns: those that are wanted.

    Yields:
        Number of the row, from 1 without the header, and its fields by column, without blanks around them; a BadRecord
        in their place where the row has too few or too many fields. Empty lines are counted, but left out.

    Raises:
        SourceError: the file can't be read to its end, or lacks a column.
    """
    header = read_header(path)
    for column in columns:
        if header.count(column) != 1:
            what = f"has no column '{column}'" if column not in header else f"has two columns '{column}'"
            raise SourceError(f"{path}: {what}; its columns are {', '.join(header)}")
    places = {column: header.index(column) for column in columns}
    for row, fields in _rows(path):
        if row == 0 or not fields:
            continue
        if len(fields) != len(header):
            yield (
                row,
                BadRecord(f"{path}, row {row}", f"{len(fields)} fields, but the header has {len(header)}"),
            )
        else:
            yield row, {column: fields[place] for column, place in places.items()}


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """All rows, the header too, with their numbers from 0."""
    row = 0
    try:
        # A spreadsheet may have put a byte order mark at the beginning.
        with open(path, encoding="utf-8-sig", newline="") as file:
            for fields in csv.reader(file, strict=True):
                yield row, [field.strip() for field in fields]
                row += 1
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except csv.Error as error:
        raise SourceError(f"{path}, row {row}: can't be read: {error}") from None
