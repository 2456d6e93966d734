"""A listing of image files, in the place of a folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from models.errors import DataError

COLUMNS = ("path", "image")
ENDINGS = (".csv", ".parquet", ".txt")


def is_manifest(path: Path) -> bool:
    """Whether the path is a listing by its ending; what a folder holds is never taken for one."""
    return path.suffix.lower() in ENDINGS and path.is_file()


def listed(path: Path) -> Iterator[tuple[str, Path]]:
    """The files of a listing, in its order: the name as it is listed, and the place.

    A ``.txt`` has one path a line; a ``.csv`` or ``.parquet`` has a column ``path`` or ``image``. Paths may be relative to the
    listing. Whether a file is there shows when it is read.

    Raises:
        DataError: the listing cannot be read, has no such column, or is empty.
    """
    texts = _texts(path)
    if not texts:
        raise DataError(f"{path.name} lists no image; give one path a row.")
    for name in map(posixpath.normpath, texts):
        yield name, path.parent / name


def _texts(path: Path) -> list[str]:
    ending = path.suffix.lower()
    try:
        if ending == ".txt":
            found = path.read_text(encoding="utf-8-sig").splitlines()
        else:
            frame = (
                pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path, dtype=str, encoding="utf-8-sig")
            )
            column = next((name for name in COLUMNS if name in frame.columns), None)
            if column is None:
                raise DataError(
                    f"{path.name} has no column {' or '.join(COLUMNS)} with the paths of the images; its columns are "
                    f"{', '.join(map(str, frame.columns[:8]))}."
                )
            found = [text for text in frame[column] if isinstance(text, str)]
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read as a listing of images ({type(error).__name__}).") from None
    return [text.strip() for text in found if text.strip()]
