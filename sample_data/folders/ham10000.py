"""HAM10000: dermoscopic pictures of the test lesions, with masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.training.splits import split_groups
from models.types import Case, Modality
from sample_data.entry import SampleEntry, balanced, kebab, read_region, read_sample
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in, rows_of

CLASSES = {
    "akiec": "Actinic keratosis", "bcc": "Basal cell carcinoma", "bkl": "Benign keratosis", "df": "Dermatofibroma",
    "mel": "Melanoma", "nv": "Melanocytic nevus", "vasc": "Vascular lesion",
}  # fmt: skip


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    rows = rows_of(
        root / "HAM10000_metadata.csv", ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    )
    pictures, masks = names_in(root / "images", ".jpg"), names_in(root / "masks", ".png")
    rows = [row for row in rows if f"{row['image_id']}.jpg" in pictures and row["dx"] in CLASSES]
    # The split of the training recipe, so that none of these lesions was trained on.
    parts = split_groups([row["lesion_id"] for row in rows], [row["dx"] for row in rows])
    test: dict[str, dict[str, str]] = {}
    for row, part in zip(rows, parts, strict=True):
        if part == "test" and f"{row['image_id']}.png" in masks:
            test.setdefault(row["lesion_id"], row)
    ordered = sorted(test.values(), key=lambda row: row["image_id"])
    return tuple(
        dataset.entry(
            kebab(row["image_id"]),
            partial(_load, root, row["image_id"]),
            labels={name: code == row["dx"] for code, name in CLASSES.items()},
            attributes={
                "age": row["age"].removesuffix(".0"),
                "sex": row["sex"],
                "site": row["localization"],
                "diagnosis by": row["dx_type"],
            },
        )
        for row in balanced(ordered, lambda row: (row["dx"],), PER_SYSTEM)
    )


def _load(root: Path, name: str, entry: SampleEntry) -> Case:
    mask = root / "masks" / f"{name}.png"
    return read_sample(entry, root / "images" / f"{name}.jpg", lambda image: [read_region("Lesion", mask, image)])


FOLDER_SETS.register(
    "ham10000",
    FolderSet(
        "ham10000",
        "HAM10000",
        "skin-lesion-7",
        "ham10000_200x150",
        Modality.DERMOSCOPY,
        "CC BY-NC 4.0",
        "Tschandl et al., Scientific Data 2018, doi:10.1038/sdata.2018.161",
        _entries,
    ),
)
