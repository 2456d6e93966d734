"""The image files behind the rows of a table, found by file name or case id in one folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from dashboard.audit.table import CASE, FILE, AuditTable
from models.errors import DataError
from models.io import read_case
from models.types import Case, Modality

_ENDINGS = (".nii.gz", ".dcm", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


class ImageFolder:
    """All image files below a folder, by relative path and by name without its ending.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError("The images folder does not exist; give the path of a folder on this machine.")
        self.folder = folder
        self._by_name: dict[str, Path | None] = {}
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                if name.lower().endswith(_ENDINGS):
                    path = Path(place) / name
                    for key in {name, _stem(name), path.relative_to(folder).as_posix()}:
                        # A name that stands for two files stands for none.
                        self._by_name[key] = None if key in self._by_name else path

    def __len__(self) -> int:
        return len({path for path in self._by_name.values() if path is not None})

    def find(self, cases: pd.DataFrame, row: int) -> Path | None:
        """The image of a row of :attr:`AuditTable.cases`."""
        named = [str(cases.iloc[row][column]) for column in (FILE, CASE) if column in cases]
        for name in named:
            for key in (name, Path(name).name, _stem(Path(name).name)):
                path = self._by_name.get(key)
                if path is not None:
                    return path
        return None

    def case(self, table: AuditTable, row: int, modality: Modality | None) -> Case:
        """The image of a row as a case with its labels and attributes; its id tells nothing of the file.

        Args:
            modality: for pictures that do not say what made them.

        Raises:
            DataError: no image is found, or it cannot be read.
        """
        path = self.find(table.cases, row)
        if path is None:
            raise DataError(
                f"No image named like {table.cases.iloc[row][CASE]} is in the images folder; choose the folder that holds it."
            )
        raster = path.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gz", ".nii")
        found = read_case(path, modality=modality if raster else None)
        facts = table.cases.iloc[row]
        known = {name: bool(table.labels[row, k]) for k, name in enumerate(table.classes) if table.known[row, k]}
        return replace(
            found,
            id=f"upload-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}",
            title=str(facts[CASE]),
            labels=known,
            attributes={name: f"{facts[name]:g}" if isinstance(facts[name], float) else str(facts[name])
                        for name in table.attributes if pd.notna(facts[name])},
        )  # fmt: skip


def _stem(name: str) -> str:
    lower = name.lower()
    return next((name[: -len(ending)] for ending in _ENDINGS if lower.endswith(ending)), name)
