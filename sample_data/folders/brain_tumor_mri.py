"""Brain Tumor MRI: slices of the published test part, six of each class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.types import Case, Modality
from sample_data.entry import SampleEntry, kebab, read_sample, spread
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in

CLASSES = {"glioma": "Glioma", "meningioma": "Meningioma", "notumor": "No tumor", "pituitary": "Pituitary tumor"}


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    return tuple(
        dataset.entry(
            kebab(Path(name).stem),
            partial(_load, root / "Testing" / folder / name),
            labels={title: key == folder for key, title in CLASSES.items()},
        )
        for folder in CLASSES
        for name in spread(sorted(names_in(root / "Testing" / folder, ".jpg")), PER_SYSTEM // len(CLASSES))
    )


def _load(path: Path, entry: SampleEntry) -> Case:
    return read_sample(entry, path)


FOLDER_SETS.register(
    "brain-mri",
    FolderSet(
        "brain-mri",
        "Brain Tumor MRI",
        "brain-tumor-mri",
        "brain_tumor_mri_224",
        Modality.MR,
        "CC0 (as stated by the collection; it gathers figshare, SARTAJ and Br35H)",
        "Nickparvar, Brain Tumor MRI Dataset, Kaggle 2021; Cheng, figshare 2017, doi:10.6084/m9.figshare.1512427",
        _entries,
    ),
)
