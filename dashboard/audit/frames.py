"""Tables from files: CSV, TSV and parquet, as they are."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import DataError

ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
_PROBED = 5000  # rows looked at for leading zeros
_MISSING = ["", "NA", "N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "<NA>"]  # "None" may well be a class


def read_frame(source: Path | str | bytes, name: str) -> pd.DataFrame:
    """A table from a file or its bytes; ``name`` tells the format by its ending and stands in messages.

    Numbers with leading zeros ("007") stay text, since they are names. A CSV may be separated by commas, semicolons
    (then also with decimal commas) or tabs.

    Raises:
        DataError: another format, a damaged or empty file, or two columns of one name.
    """
    ending = Path(name).suffix.lower()
    if ending not in ENDINGS:
        raise DataError(f"{name} is not a table that can be read; give a CSV, TSV or parquet file.")
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        frame = _parquet(data) if ending == ".parquet" else _separated(data, ending)
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


def _separated(data: bytes, ending: str) -> pd.DataFrame:
    text = _text(data)
    lines = [line for line in text[:200_000].splitlines() if line.strip()][:3]
    if not lines:
        raise ValueError("no header")
    first = lines[0]
    separator = "\t" if ending == ".tsv" else max(",;\t", key=first.count)
    decimal = "," if separator == ";" and any(re.search(r"(^|;)-?\d+,\d+(;|$)", line) for line in lines[1:]) else "."
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    if len(set(header)) < len(header):
        return pd.DataFrame(columns=header)

    def read(**more: object) -> pd.DataFrame:
        table: pd.DataFrame = pd.read_csv(  # type: ignore[call-overload]
            io.StringIO(text), sep=separator, keep_default_na=False, na_values=_MISSING, index_col=False, **more
        )
        table.columns = table.columns.map(lambda name: str(name).strip())
        return table

    probe = read(dtype=str, nrows=_PROBED)
    zeros = {
        place: str for place, column in enumerate(probe.columns) if probe[column].str.match(r"0\d+$", na=False).any()
    }
    return read(dtype=zeros, decimal=decimal, low_memory=False)


def _text(data: bytes) -> str:
    """Spreadsheets write UTF-8 with or without a mark, or the code page of Windows."""
    if b"\0" in data[:1000]:
        raise ValueError("binary")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")
