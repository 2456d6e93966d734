"""How much of the main metric is left on corrupted test images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from models.card import Robustness
from models.handle import ModelHandle
from models.training.corrupt import CORRUPTIONS, STRENGTHS, corrupted
from models.training.masks import mask_figures
from models.training.recipe import SPLIT, Recipe
from models.training.scoring import Change, Scored, probabilities, score_changed

MOST = 600
NONE = "none"


def robustness(handle: ModelHandle, recipe: Recipe, data: Path) -> tuple[Robustness, ...]:
    """The recipe's metric of calibrated scores for each corruption and strength, beside that of the same images.

    At most 600 test images, drawn with seed 0 in the proportions of their rarest class.
    """
    rows = recipe.rows(data)
    rows = stratified(rows[rows[SPLIT] == "test"].reset_index(drop=True), recipe.classes, MOST)
    plans = {(NONE, 0): (lambda image, _: image)} | {
        (name, strength): corrupted(name, strength, handle.card) for name in CORRUPTIONS for strength in STRENGTHS
    }
    changes: dict[str, Change] = {f"{name} {strength}": change for (name, strength), change in plans.items()}
    scored = score_changed(handle, recipe, data, rows, changes, "robustness")
    return tuple(
        Robustness(
            corruption=name,
            strength=strength,
            metric=recipe.metric.name,
            value=round(_metric(handle, recipe, scored[f"{name} {strength}"]), 4),
            n=len(rows),
        )
        for name, strength in plans
    )


def stratified(rows: pd.DataFrame, classes: tuple[str, ...], most: int, seed: int = 0) -> pd.DataFrame:
    """At most ``most`` rows, in the proportions of the rarest class each row shows, in their old order."""
    if len(rows) <= most:
        return rows
    labels = rows[list(classes)].to_numpy(bool)
    frequency = np.where(labels, labels.sum(0), len(rows) + 1)
    rarest = np.where(labels.any(1), frequency.argmin(1), -1)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(rows))
    # Equal steps through the rows sorted by stratum take the same share of each.
    ordered = shuffled[np.argsort(rarest[shuffled], kind="stable")]
    chosen = ordered[np.floor((np.arange(most) + 0.5) * len(rows) / most).astype(int)]
    return rows.iloc[np.sort(chosen)].reset_index(drop=True)


def _metric(handle: ModelHandle, recipe: Recipe, scored: Scored) -> float:
    card = handle.card
    if scored.pixels is not None:
        return float(mask_figures(card, scored.pixels)["dice"].mean())
    if not card.exclusive:
        return recipe.metric.of(scored.labels, scored.logits)  # in the order of the probabilities, none rounded to 1
    # The largest ratio decides; the order within a class, so its AUROC, stays the same.
    return recipe.metric.of(scored.labels, probabilities(card, scored.logits) / card.threshold_array)
