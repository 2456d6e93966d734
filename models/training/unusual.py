"""How well the feature distance tells strange images from the model's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from models.card import ModelCard, UnusualTable
from models.handle import UNUSUAL_PERCENTILE, ModelHandle
from models.novelty import NoveltyModel
from models.training.corrupt import corrupted, in_display
from models.training.recipe import RECIPES, Recipe
from models.training.scoring import Change, Scored, rows_of, score_changed
from models.types import FloatArray, Geometry, Image

MOST = 300
EACH = 60  # images of every other system
OTHER = "other modality"


def unusual(
    handle: ModelHandle, novelty: NoveltyModel, validation: Scored, test: Scored, recipe: Recipe, data: Path
) -> UnusualTable:
    """AUROC of the distance of strange images against own test images.

    Strange are the test images of recipes that read another kind of image, where their data lie beside ``data``,
    and own test images with heavy noise or blur, inverted, or with shuffled pixels.
    """
    kept = float((novelty.percentiles(validation.features) < UNUSUAL_PERCENTILE).mean())
    own = novelty.distances(test.features)
    strange = {
        f"corrupted: {name}": scored.features
        for name, scored in score_changed(
            handle, recipe, data, rows_of(recipe, data, "test", MOST), _changes(handle.card), "unusual images"
        ).items()
    }
    other = _other_modalities(handle, recipe, data)
    if len(other):
        strange = {OTHER: other} | strange
    return UnusualTable(
        kept=round(kept, 4),
        auroc={name: round(_auroc(own, novelty.distances(features)), 4) for name, features in strange.items()},
        n={name: len(features) for name, features in strange.items()},
    )


def _changes(card: ModelCard) -> dict[str, Change]:
    return {
        "noise": corrupted("gaussian noise", 3, card),
        "blur": corrupted("gaussian blur", 3, card),
        "inverted": lambda image, _: in_display(image, card, lambda plane: 1 - plane),
        "shuffled pixels": lambda image, rng: in_display(image, card, lambda plane: _shuffle(plane, rng)),
    }


def _shuffle(plane: FloatArray, rng: np.random.Generator) -> FloatArray:
    return plane.reshape(len(plane), -1)[:, rng.permutation(plane[0].size)].reshape(plane.shape)


def _other_modalities(handle: ModelHandle, recipe: Recipe, data: Path) -> FloatArray:
    """(n, F) features of test images of other recipes whose data are found beside this one's."""
    own = set(handle.card.input.modality)
    found = []
    for other in RECIPES:
        folder = data.resolve().parent / other.folder
        if own & set(other.card["input"]["modality"]) or not other.folder or not folder.is_dir():
            continue
        rows, fit = rows_of(other, folder, "test", EACH), _fitting(handle.card)
        found.append(score_changed(handle, replace(other, mask=None), folder, rows, {"": fit}, other.id)[""].features)
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def _fitting(card: ModelCard) -> Change:
    """Gives an image the pixel spacing that the model insists on, such that it fills the input."""

    def fit(image: Image, _: np.random.Generator) -> Image:
        side = card.input.spacing_mm
        if side is None or image.geometry is not None:
            return image
        spacing = side * card.input.width / min(image.plane_shape)
        return replace(image, geometry=Geometry.from_spacing(spacing, spacing))

    return fit


def _auroc(own: FloatArray, strange: FloatArray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(own), len(strange)]), np.concatenate([own, strange])))
