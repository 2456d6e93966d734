"""LIDC-IDRI: CT patches around a nodule in HU, with the radiologists' mask. The last fifth of the patients."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.types import Case, Modality
from sample_data.entry import SampleEntry, balanced, kebab, read_region, read_sample
from sample_data.folders._base import FOLDER_SETS, PER_SYSTEM, FolderSet, names_in, rows_of

TEST_SHARE = 0.2


def _entries(root: Path, dataset: FolderSet) -> tuple[SampleEntry, ...]:
    columns = ("patient_id", "nodule_id", "diameter_mm", "Diagnosis", "Malignancy", "Malignancy_value", "Texture")
    rows = rows_of(root / "nodules.csv", columns)
    present = names_in(root / "image", ".nii.gz") & names_in(root / "nodule_mask", ".nii.gz")
    rows = [row for row in rows if _name(row) in present]
    patients = sorted({row["patient_id"] for row in rows})
    late = set(patients[round((1 - TEST_SHARE) * len(patients)) :])
    first: dict[str, dict[str, str]] = {}
    for row in rows:
        # Nodules of indeterminate malignancy have no truth to compare with.
        if row["patient_id"] in late and row["Malignancy_value"] != "3":
            first.setdefault(row["patient_id"], row)
    chosen = balanced(list(first.values()), lambda row: (row["Malignancy"],), PER_SYSTEM // 2)
    return tuple(
        dataset.entry(
            kebab(f"{row['patient_id'].rpartition('-')[2]}-{row['nodule_id']}"),
            partial(_load, root, _name(row)),
            labels={"Malignant": int(row["Malignancy_value"]) > 3},
            attributes={
                "malignancy": f"{row['Malignancy'].lower()} ({row['Malignancy_value']} of 5, radiologists' rating)",
                "nodule diameter": f"{float(row['diameter_mm']):.1f} mm",
                "texture": row["Texture"].lower(),
            },
        )
        for row in chosen
    )


def _name(row: dict[str, str]) -> str:
    return f"{row['patient_id']}_R_{row['nodule_id']}.nii.gz"


def _load(root: Path, name: str, entry: SampleEntry) -> Case:
    mask = root / "nodule_mask" / name
    return read_sample(entry, root / "image" / name, lambda image: [read_region("Nodule", mask, image)])


FOLDER_SETS.register(
    "lidc",
    FolderSet(
        "lidc",
        "LIDC-IDRI nodule",
        "lung-cancer-ct",
        "lidc_nodules",
        Modality.CT,
        "CC BY 3.0",
        "Armato et al., Medical Physics 2011, doi:10.1118/1.3528204; The Cancer Imaging Archive",
        _entries,
        "lung-nodule",
    ),
)
