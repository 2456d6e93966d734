"""What a recipe states: where its rows and images are, how it is trained, what its card says.

The five systems differ in these facts only; loading, training, choosing a loss, releasing and evaluating are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn

from models.card import InputTable
from models.preprocess import InputSpec
from models.registry import Registry
from models.training.augment import Augment
from models.training.loop import Schedule
from models.types import FloatArray, Image

ID, GROUP, SPLIT = "case_id", "group_id", "split"
LEAST = 10  # positives without which a class says nothing about an epoch


@dataclass(frozen=True)
class Metric:
    """A figure larger is better of (n, K) labels and (n, K) scores, or of (n, K, H, W) masks."""

    name: str
    of: Callable[[FloatArray, FloatArray], float]


@dataclass(frozen=True, eq=False)
class Recipe:
    """One system.

    Attributes:
        card: fields of ``card.toml`` except what is measured.
        folder: usual name of the data folder, where the data of several systems lie side by side.
        rows: data folder to a table, one row an image: ``case_id``, ``group_id`` (patient or lesion), ``split``
            ("train", "val", "test"), one 0/1 column for each class of the card, and ``attributes``.
        image: data folder and a row to the image as the readers would give it.
        group_unit: what a group is, in the plural ("patients").
        mask: data folder and a row to (K, H, W) bool on the image's grid; segmentation only.
        attributes: columns kept in the evaluation tables (age, sex, view ...).
        subgroups: of these, the ones figures are reported by.
        metadata: of these, what is tried as a second input beside the image: numbers, then categories.
        losses: compared on the validation part after ``trial``; ``loss`` is used for the release.
    """

    card: Mapping[str, Any]
    rows: Callable[[Path], pd.DataFrame]
    image: Callable[[Path, Mapping[str, Any]], Image]
    build: Callable[[], nn.Module]
    augment: Augment
    metric: Metric
    schedule: Schedule
    trial: Schedule
    losses: tuple[str, ...]
    loss: str
    mask: Callable[[Path, Mapping[str, Any]], NDArray[np.bool_]] | None = None
    attributes: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    metadata: tuple[list[str], list[str]] | None = None
    folder: str = ""
    group_unit: str = "patients"

    @property
    def id(self) -> str:
        return str(self.card["id"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def input(self) -> InputSpec:
        return InputTable(**self.card["input"]).spec


RECIPES: Registry[Recipe] = Registry("recipe")


def macro_auroc(labels: FloatArray, scores: FloatArray) -> float:
    """Mean AUROC over the classes with enough positives to say something."""
    kept = np.flatnonzero((labels.sum(0) >= LEAST) & (labels.sum(0) < len(labels)))
    return float(np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in kept]))


def balanced_accuracy(labels: FloatArray, scores: FloatArray) -> float:
    """Mean recall of the classes, deciding for the largest score."""
    return float(balanced_accuracy_score(labels.argmax(1), scores.argmax(1)))


def dice(masks: FloatArray, scores: FloatArray, threshold: float = 0.0) -> float:
    """Mean over images of Dice (1945) between (n, K, H, W) masks in {0, 1} and pixel logits above ``threshold``."""
    found = scores > threshold
    both = 2.0 * (found * masks).sum((1, 2, 3))
    total = found.sum((1, 2, 3)) + masks.sum((1, 2, 3))
    return float(np.mean(np.where(total > 0, both / np.maximum(total, 1), 1.0)))


MACRO_AUROC = Metric("macro AUROC", macro_auroc)
BALANCED_ACCURACY = Metric("balanced accuracy", balanced_accuracy)
DICE = Metric("Dice at 0.5", dice)
