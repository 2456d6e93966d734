"""Images of a recipe through the model as it is served: logits, features and, for segmentation, masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from models.card import CalibrationTable, ModelCard
from models.context import RunContext
from models.handle import ModelHandle, Outputs
from models.training.recipe import SPLIT, Recipe
from models.types import FloatArray, Image

# An image and a generator of its own to a changed image.
Change = Callable[[Image, np.random.Generator], Image]
BATCH = 16
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Pixels:
    """Segmentation of n images.

    Attributes:
        logits: (n, K, h, w) float32 on the network's grid.
        masks: (K, H, W) bool an image, on the image's own grid.
        to_image: (3, 3) float64 an image, network grid to image grid.
    """

    logits: FloatArray
    masks: tuple[NDArray[np.bool_], ...]
    to_image: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows of a recipe with (n, K) float32 labels in {0, 1}, (n, K) float32 logits and (n, F) float32 features."""

    rows: pd.DataFrame
    labels: FloatArray
    logits: FloatArray
    features: FloatArray
    pixels: Pixels | None = None

    @property
    def groups(self) -> NDArray[np.str_]:
        return self.rows["group_id"].astype(str).to_numpy(dtype=np.str_)


def rows_of(recipe: Recipe, data: Path, split: str, most: int | None = None) -> pd.DataFrame:
    """A split's rows; where there are more than ``most``, that many at equal steps."""
    rows = recipe.rows(data)
    rows = rows[rows[SPLIT] == split].reset_index(drop=True)
    if most is None or len(rows) <= most:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)].reset_index(drop=True)


def score(handle: ModelHandle, recipe: Recipe, data: Path, rows: pd.DataFrame, title: str = "scoring") -> Scored:
    """The rows' images, unchanged."""
    return score_changed(handle, recipe, data, rows, {"": lambda image, _: image}, title)[""]


def score_changed(
    handle: ModelHandle,
    recipe: Recipe,
    data: Path,
    rows: pd.DataFrame,
    changes: Mapping[str, Change],
    title: str = "scoring",
) -> dict[str, Scored]:
    """Every change of every image, which is read once; the generator of an image depends on its place alone."""
    found: dict[str, list[tuple[Outputs, list[NDArray[np.float64]]]]] = {name: [] for name in changes}
    masks = []
    records = records_of(rows)
    starts = range(0, len(records), BATCH)
    for start in progress(starts, title):
        part = records[start : start + BATCH]
        images = [recipe.image(data, row) for row in part]
        if recipe.mask is not None:
            masks += [recipe.mask(data, row) for row in part]
        for name, change in changes.items():
            changed = (change(image, np.random.default_rng(start + k)) for k, image in enumerate(images))
            found[name].append(_run(handle, list(changed)))
    labels = rows[list(recipe.classes)].to_numpy(np.float32)
    scored = {}
    for name, batches in found.items():
        logits = np.concatenate([batch.logits for batch, _ in batches])
        whole = Scored(rows, labels, logits, np.concatenate([batch.features for batch, _ in batches]))
        planes = [batch.pixels for batch, _ in batches if batch.pixels is not None]
        if masks and planes:
            places = tuple(place for _, to_image in batches for place in to_image)
            whole = replace(whole, pixels=Pixels(np.concatenate(planes), tuple(masks), places))
        scored[name] = whole
    return scored


def probabilities(card: ModelCard, logits: FloatArray, raw: bool = False) -> FloatArray:
    """(n, K) logits, or (n, K, h, w) of pixels, to probabilities; ``raw`` leaves the calibration out."""
    if raw:
        card = card.model_copy(update={"calibration": CalibrationTable()})
    return np.moveaxis(card.probabilities(np.moveaxis(logits, 1, -1)), -1, 1)


def progress(items: Sequence[T], title: str) -> Iterable[T]:
    """The items, with a bar on standard error where somebody watches."""
    console = Console(stderr=True)
    return track(items, title, console=console, transient=True, disable=not console.is_terminal)


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, column to value."""
    return [{str(name): value for name, value in record.items()} for record in rows.to_dict("records")]


def _run(handle: ModelHandle, images: list[Image]) -> tuple[Outputs, list[NDArray[np.float64]]]:
    prepared = [handle.prepare(image) for image in images]
    outputs = handle.forward(torch.cat([one.tensor for one in prepared]), RunContext())
    return outputs, [one.grid_to_image for one in prepared]
