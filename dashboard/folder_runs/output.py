"""The files of a run over many images, written whole or not at all and without holding the run in memory."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dashboard.quantities import extent
from dashboard.reports.files import manifest_bytes, mask_file
from models.types import Image, Prediction

ROWS = 4096  # of a table in memory at once
Pair = tuple[str, Any]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes the place of ``path`` when it is complete."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> int:
    """Write a file whole or not at all; how many bytes."""
    with replacing(path) as file:
        return file.write(content)


def write_files(out: Path, contents: Mapping[str, bytes], owned: Collection[str] = ()) -> tuple[str, ...]:
    """Files of a result, each whole or not at all; what else of ``owned`` an earlier result left is then removed.

    Args:
        contents: by path within ``out``.
        owned: paths of all files that such a result may have.

    Returns:
        The paths written.

    Raises:
        OSError: the folder cannot be written.
    """
    for name, content in contents.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    stale = [out / name for name in set(owned) - set(contents)]
    for path in stale:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in stale} - {out}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return tuple(contents)


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Rows to a .csv or .parquet file, ``ROWS`` at a time; how many. Without rows nothing is written."""
    remaining = iter(rows)
    first = list(islice(remaining, ROWS))
    if not first:
        return 0
    count = 0
    parts = chain([first], iter(lambda: list(islice(remaining, ROWS)), []))
    with replacing(path) as file:
        if path.suffix == ".csv":
            for part in parts:
                pd.DataFrame(part).to_csv(file, index=False, header=count == 0)
                count += len(part)
            return count
        schema = pa.Schema.from_pandas(pd.DataFrame(first), preserve_index=False)
        with pq.ParquetWriter(file, schema) as writer:
            for part in parts:
                writer.write_table(pa.Table.from_pandas(pd.DataFrame(part), schema, preserve_index=False))
                count += len(part)
    return count


def write_manifest(
    path: Path, head: dict[str, Any], warnings: Iterable[Pair], skipped: Iterable[Pair], maps: Iterable[dict[str, Any]]
) -> None:
    """As :func:`dashboard.reports.files.manifest_bytes`, an entry at a time."""
    facts = json.loads(manifest_bytes([], **head))
    del facts["maps"]
    with replacing(path) as file:
        file.write(b"{\n")
        for name, value in facts.items():
            file.write(f"  {json.dumps(name)}: {_indented(value)},\n".encode())
        for name, pairs in (("warnings", warnings), ("skipped", skipped)):
            lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
            file.write(f"  {json.dumps(name)}: {{".encode())
            _write_lines(file, lines)
            file.write(b"},\n")
        file.write(b'  "maps": [')
        _write_lines(file, (_indented(entry, 4) for entry in maps))
        file.write(b"]\n}\n")


def write_masks(folder: Path, stem: str, image: Image, prediction: Prediction) -> tuple[dict[str, Any], dict[str, int]]:
    """One file a class; the columns that go with them, and the files' sizes. None for a network that gives no masks."""
    columns: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    if prediction.masks is None or prediction.found is None:
        return columns, sizes
    folder.mkdir(exist_ok=True)
    for name, values, found in zip(prediction.classes, prediction.masks, prediction.found, strict=True):
        of_class = f".{safe_name(name)}" if len(prediction.classes) > 1 else ""
        ending, content = mask_file(values, image.geometry)
        file = f"{stem}{of_class}{ending}"
        sizes[file] = write_whole(folder / file, content)
        size = extent(found, image.geometry)
        area = float("nan") if size.area_mm2 is None else size.area_mm2
        columns |= {f"share_{name}": size.share, f"area_mm2_{name}": area, f"parts_{name}": size.parts}
        columns[f"mask_{name}"] = f"{folder.name}/{file}"
    return columns, sizes


def safe_name(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "image"


def safe_stem(name: str) -> str:
    """Of an image's file name, without its ending."""
    return safe_name(Path(name).stem.removesuffix(".nii"))


def _write_lines(file: BinaryIO, lines: Iterable[str]) -> None:
    end = b""
    for line in lines:
        file.write((b",\n    " if end else b"\n    ") + line.encode())
        end = b"\n  "
    file.write(end)


def _indented(value: Any, margin: int = 2) -> str:
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * margin)
