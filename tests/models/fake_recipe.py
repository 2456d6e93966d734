"""Recipes of small synthetic images, and trainings that never happened, for the tests of the release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn

from models.segmentation import UNet
from models.training.augment import augmentation
from models.training.loop import Schedule
from models.training.recipe import BALANCED_ACCURACY, DICE, GROUP, ID, MACRO_AUROC, SPLIT, Recipe
from models.types import Image, Modality
from tests.conftest import liven

SIDE = 32
SHARES = {"train": 60, "val": 60, "test": 90}
CLASSES = {
    "multilabel": ("Alpha", "Beta", "Gamma"),
    "multiclass": ("Alpha", "Beta", "Gamma"),
    "binary": ("Alpha",),
    "segmentation": ("Alpha",),
}


def rows_of_task(task: str) -> pd.DataFrame:
    """Two images a group; classes at random with seed 0; age, sex and some unknown values."""
    rng = np.random.default_rng(0)
    split = [name for name, n in SHARES.items() for _ in range(n)]
    n = len(split)
    labels = (rng.random((n, len(CLASSES[task]))) < 0.4).astype(int)
    if task == "multiclass":
        labels = np.eye(3, dtype=int)[np.arange(n) % 3]
    table = pd.DataFrame(labels, columns=list(CLASSES[task]))
    table[ID] = [f"case-{k:03d}" for k in range(n)]
    table[GROUP] = [f"group-{k // 2:03d}" for k in range(n)]
    table[SPLIT] = split
    table["age"] = np.where(np.arange(n) % 17 == 0, np.nan, rng.integers(10, 90, n))
    table["sex"] = np.where(np.arange(n) % 13 == 0, "", np.where(np.arange(n) % 2, "F", "M"))
    return table


def mask_of(row: Mapping[str, Any]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(1, H, W): a square, where the row's class holds."""
    mask = np.zeros((1, SIDE, SIDE), dtype=bool)
    if row["Alpha"]:
        place = int(str(row[ID]).split("-")[1]) % 12
        mask[0, place : place + 10, 8:24] = True
    return mask


def image_of(row: Mapping[str, Any], classes: tuple[str, ...]) -> Image:
    """Noise, the brighter on a stripe of its own the more classes hold."""
    rng = np.random.default_rng(int(str(row[ID]).split("-")[1]))
    values = rng.random((1, SIDE, SIDE)).astype(np.float32) * 0.5
    for k, name in enumerate(classes):
        values[:, 8 * k : 8 * k + 8] += 0.5 * row[name]
    return Image(values, "unit interval", Modality.XRAY)


def fake_recipe(task: str = "multilabel", **changes: Any) -> Recipe:
    """A recipe whose rows need no data folder; ``rows``, ``image`` and the card can be replaced."""
    classes = CLASSES[task]
    encoder = "mobilenetv3_small_050"
    segments = task == "segmentation"
    metric = {"multiclass": BALANCED_ACCURACY, "segmentation": DICE}.get(task, MACRO_AUROC)

    def build() -> nn.Module:
        torch.manual_seed(0)
        if segments:
            return UNet(encoder, 1)
        return timm.create_model(encoder, pretrained=False, num_classes=len(classes))

    card = {
        "id": f"fake-{task}",
        "title": "Fake",
        "architecture": f"{'unet' if segments else 'timm'}:{encoder}",
        "task": task,
        "classes": list(classes),
        "licence": "none",
        "intended_use": "Tests.",
        "not_for": ["Anything else."],
        "input": {"height": SIDE, "width": SIDE, "modality": ["x-ray"], "mean": [0.5] * 3, "std": [0.25] * 3},
        "training": {"data": "synthetic squares", "licence": "none"},
    }
    fields: dict[str, Any] = {
        "card": card,
        "rows": lambda data: rows_of_task(task),
        "image": lambda data, row: image_of(row, classes),
        "mask": (lambda data, row: mask_of(row)) if segments else None,
        "build": build,
        "augment": augmentation(0, 0, (1, 1), 0, 0),
        "metric": metric,
        "schedule": Schedule(1),
        "trial": Schedule(1),
        "losses": ("cross-entropy",),
        "loss": "cross-entropy",
        "attributes": ("age", "sex"),
        "subgroups": ("sex",),
    }
    return Recipe(**fields | changes)


def write_run(recipe: Recipe, folder: Path) -> Path:
    """A training folder with random weights that half precision can hold."""
    folder.mkdir(parents=True, exist_ok=True)
    state = liven(recipe.build()).half().float().state_dict()
    torch.save(state, folder / "best.pt")
    pd.DataFrame({"epoch": [1], "loss": [0.5], "validation": [0.7], "seconds": [1.0]}).to_csv(
        folder / "history.csv", index=False
    )
    facts = {"loss": "cross-entropy", "epochs": 1, "seed": 0, "minutes": 0.1, "machine": "none"}
    (folder / "training.json").write_text(json.dumps(facts))
    trial = {"loss": "cross-entropy", "metric": recipe.metric.name, "value": 0.7, "epochs": 1}
    (folder / "losses.json").write_text(json.dumps([trial]))
    return folder
