"""Tables from files: CSV, TSV and parquet, as they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dashboard.audit.columns import names_something, partial
from models.errors import DataError

ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
_SEPARATORS = (",", ";", "\t")
_PROBED = 1000  # rows looked at to choose a separator
_MISSING = ["", "NA", "N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "<NA>"]  # "None" may well be a class
_TOLD = re.compile(r'\s*"?sep=(.)"?\s*?(?:\r\n|\n|\r)', re.IGNORECASE)  # first line of a CSV for Excel
# Text that reads like a number but names something: leading zeros, or more digits than a float keeps.
_NAME = r"0\d+|\d{16,}"
_COMMA = r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*"
_THOUSANDS = r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*"
_WHOLE = r"\s*[+-]?\d+(?:[eE][+-]?\d+)?\s*"


def read_frame(source: Path | str | bytes, name: str) -> pd.DataFrame:
    """A table from a file or its bytes; ``name`` tells the format by its ending and stands in messages.

    Names of cases and patients, numbers with leading zeros ("007") and those of many digits stay text. Text may be
    separated by commas, semicolons or tabs, whichever makes the better table, and may have decimal commas.

    Raises:
        DataError: another format, a damaged or empty file, a row of too many or too few fields, or two columns of one
            name.
    """
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise DataError(f"{name} is not a table that can be read; give a CSV, TSV or parquet file.")
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        frame = _parquet(data) if ending == ".parquet" else _separated(_text(data), name)
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror or type(error).__name__}).") from error
    except (ValueError, pa.ArrowException, csv.Error) as error:  # pandas' own parser errors are ValueErrors
        raise DataError(f"{name} is empty, damaged or not a {ending[1:]} table; save it again and retry.") from error
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{name} has two columns named {twice[0]}; rename one of them.")
    if frame.empty:
        raise DataError(f"{name} holds no rows.")
    return frame


def _parquet(data: bytes) -> pd.DataFrame:
    table = pq.read_table(pa.BufferReader(data))
    if len(set(table.column_names)) < table.num_columns:  # pandas cannot take such a table over
        return pd.DataFrame(columns=table.column_names)
    frame = table.to_pandas()
    if frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = frame.columns.map(str)
    return frame


def _separated(text: str, name: str) -> pd.DataFrame:
    told = _TOLD.match(text)
    text = text[told.end() :] if told else text
    tabbed = Path(name).suffix.lower() == ".tsv"
    choices = (told[1],) if told else ("\t",) if tabbed else _SEPARATORS
    separator = max(choices, key=lambda one: _merit(text, one))
    rows = list(_rows(text, separator))
    if not rows:
        raise ValueError("no header")
    header = _header(rows[0])
    if len(set(header)) < len(header):
        return pd.DataFrame(columns=header)
    for number, row in enumerate(rows[1:], start=1):
        if not _fits(row, len(header)):
            raise DataError(
                f"Row {number:,} of {name} has {len(row)} fields but the header names {len(header)} columns; complete "
                f"the row, and put values that hold {'a tab' if separator == _SEPARATORS[2] else separator} in quotes."
            )
    columns = zip(*(row[: len(header)] for row in rows[1:]), strict=True)
    values = {title: _typed(title, pd.Series(cells), separator) for title, cells in zip(header, columns, strict=False)}
    return pd.DataFrame(values, columns=header)


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row)


def _header(row: list[str]) -> list[str]:
    return [name.strip() or f"Unnamed: {place}" for place, name in enumerate(row)]


def _fits(row: list[str], width: int) -> bool:
    """As many fields as columns; empty ones at the end do not count."""
    return len(row) >= width and not any(row[width:])


def _merit(text: str, separator: str) -> tuple[bool, bool, int]:
    """What a separator is chosen by: scores and labels are found, all rows fit, number of columns."""
    rows: list[list[str]] = []
    try:
        rows.extend(islice(_rows(text, separator), _PROBED))
        sound = True
    except csv.Error:  # quotes that make no sense with this separator; rows before them are kept
        sound = False
    if not rows:
        return False, False, 0
    header = _header(rows[0])
    even = sound and len(header) > 1 and all(_fits(row, len(header)) for row in rows)
    if len(set(header)) < len(header):
        return False, even, len(header)
    whole = [row[: len(header)] for row in rows[1:] if len(row) >= len(header)]
    found = partial(pd.DataFrame(whole, columns=header))
    return bool(found.wide) or all(found.long), even, len(header)


def _typed(title: str, cells: pd.Series, separator: str) -> pd.Series:
    """Numbers where all known cells are, else the text."""
    text = cells.mask(cells.isin(_MISSING))
    known = text.dropna()
    if known.empty:
        return text.astype(np.float64)
    if names_something(title):
        return text.str.removesuffix(".0") if known.str.fullmatch(r"\d+\.0").all() else text
    if known.str.fullmatch(_NAME).any():
        return text
    commas = known.str.fullmatch(_COMMA)
    decimal = commas if separator != "," else commas & ~known.str.fullmatch(_THOUSANDS)
    if decimal.any() and (commas | known.str.fullmatch(_WHOLE)).all():
        text = text.str.replace(",", ".")
    numbers = pd.to_numeric(text, errors="coerce")
    return numbers if numbers.notna().sum() == len(known) else text


def _text(data: bytes) -> str:
    """Spreadsheets write UTF-8 with or without a mark, or the code page of Windows."""
    if b"\0" in data[:1000]:
        raise ValueError("binary")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")
