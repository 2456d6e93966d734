"""IQ-OTH/NCCD: whole lung CT slices as pictures. The test part is the last fifth of each class's numbers.

The set names no patients; neighbouring numbers look like neighbouring slices, so a part must be a block.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.training.splits import natural
from models.types import Case, Modality
from sample_data.entry import SampleEntry, kebab, read_sample, spread
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in, rows_of

CLASSES = {"malignant": "Malignant", "benign": "Benign", "normal": "Normal"}
TEST_SHARE = 0.2


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    table = root / "exact_duplicates.csv"
    twins = {row["file"] for row in rows_of(table, ("group", "file"))} if table.is_file() else set()
    entries = []
    for folder in CLASSES:
        names = sorted(names_in(root / folder, ".jpg"), key=natural)
        test = names[round((1 - TEST_SHARE) * len(names)) :]
        # A picture that occurs twice may have its twin in the training part.
        single = [name for name in test if f"{folder}/{name}" not in twins]
        for name in spread(single, PER_SYSTEM // 2 // len(CLASSES)):
            number = next(part for part in natural(name) if isinstance(part, int))
            entries.append(
                dataset.entry(
                    kebab(f"{folder[0]}-{number:03d}"),
                    partial(_load, root / folder / name),
                    labels={title: key == folder for key, title in CLASSES.items()},
                )
            )
    return tuple(entries)


def _load(path: Path, entry: SampleEntry) -> Case:
    return read_sample(entry, path, grey=True)


FOLDER_SETS.register(
    "iqothnccd",
    FolderSet(
        "iqothnccd",
        "IQ-OTH/NCCD",
        "lung-cancer-ct",
        "iqothnccd_256",
        Modality.CT,
        "CC BY 4.0",
        "Alyasriy and Al-Huseiny, The IQ-OTH/NCCD lung cancer dataset, Mendeley Data, doi:10.17632/bhmdr45bh2",
        _entries,
    ),
)
