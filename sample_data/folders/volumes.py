"""The PyRadiomics example volumes in full; crops of them are committed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from models.types import Case, Modality
from sample_data.entry import SampleEntry, read_region, read_sample
from sample_data.folders._base import FOLDER_SETS, FolderSet

_WHAT = {"lung1": "Nodule", "brain1": "Tumour", "brain2": "Tumour"}


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    entries = []
    for name, region in _WHAT.items():
        if (root / f"{name}_image.nii.gz").is_file():
            entry = dataset.entry(name, partial(_load, root, name, region))
            if name.startswith("brain"):
                entry = replace(entry, system="brain-tumor-mri", modality=Modality.MR)
            entries.append(entry)
    return tuple(entries)


def _load(root: Path, name: str, region: str, entry: SampleEntry) -> Case:
    mask = root / f"{name}_label.nii.gz"
    return read_sample(entry, root / f"{name}_image.nii.gz", lambda image: [read_region(region, mask, image)])


FOLDER_SETS.register(
    "volume",
    FolderSet(
        "volume",
        "PyRadiomics example, whole volume",
        "lung-cancer-ct",
        "volumes",
        Modality.CT,
        "BSD-3-Clause",
        "van Griethuysen et al., Cancer Research 2017, doi:10.1158/0008-5472.CAN-17-0339",
        _entries,
    ),
)
