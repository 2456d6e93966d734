"""What a data set in the data folder is."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from models.registry import Registry
from models.types import Case, Modality
from sample_data.entry import SampleEntry

PER_SYSTEM = 24


@dataclass(frozen=True)
class FolderSet:
    """One data set.

    Attributes:
        folder: below the data folder.
        list_entries: (its folder, the set) to entries, without decoding an image.
        model: id of the model made for the set; the system's own if not given.
    """

    id: str
    name: str
    system: str
    folder: str
    modality: Modality
    licence: str
    citation: str
    list_entries: Callable[[Path, FolderSet], tuple[SampleEntry, ...]]
    model: str = ""

    def entries(self, data: Path) -> tuple[SampleEntry, ...]:
        """The cases offered, none where the folder is absent."""
        root = data / self.folder
        return self.list_entries(root, self) if root.is_dir() else ()

    def entry(
        self,
        key: str,
        load: Callable[[SampleEntry], Case],
        labels: Mapping[str, bool] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> SampleEntry:
        """An entry of this set; ``key`` tells it from the others, in kebab-case."""
        return SampleEntry(
            id=f"{self.id}-{key}",
            title=f"{self.name.split()[0]} {key}",
            system=self.system,
            kind="folder",
            modality=self.modality,
            source=f"{self.name}, data folder",
            licence=self.licence,
            citation=self.citation,
            load=load,
            labels=labels or {},
            model=self.model,
            attributes={name: text for name, text in (attributes or {}).items() if text},
        )


FOLDER_SETS: Registry[FolderSet] = Registry("data set")


def rows_of(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """A CSV table with a header line.

    Raises:
        DataError: the table is missing, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The table {path.name} of the data folder cannot be read; restore it from its source."
        ) from error
    missing = [name for name in needed if rows and rows[0].get(name) is None]
    if missing or not rows:
        raise DataError(
            f"The table {path.name} of the data folder lacks {', '.join(missing) or 'rows'}; restore it from its source."
        )
    return rows


def names_in(folder: Path, suffix: str) -> set[str]:
    """Names of the files of one kind in a folder, empty where there is none."""
    return {path.name for path in folder.glob(f"*{suffix}")} if folder.is_dir() else set()
