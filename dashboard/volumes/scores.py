"""A model's scores of every slice of a volume, in batches that let readers' explanations go first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dashboard.jobs.desk import Desk
from dashboard.volumes.types import SliceScores
from models.card import ModelCard
from models.context import RunContext
from models.errors import ModelError
from models.types import Image, Prediction

BATCH = 8


def card_of(desk: Desk, model_id: str) -> ModelCard:
    """Raises ModelError for an unknown model."""
    card = desk.engine.cards().get(model_id)
    if card is None:
        raise ModelError(f"There is no model {model_id!r}; choose one of those installed.")
    return card


def no_scores(desk: Desk, model_id: str, depth: int) -> SliceScores:
    """Before the first slice has been scored."""
    card = card_of(desk, model_id)
    unknown = np.full((depth, len(card.classes)), np.nan, dtype=np.float32)
    return SliceScores(card.classes, unknown, unknown, card.threshold_array, card.exclusive)


def score_slices(
    desk: Desk,
    model_id: str,
    image: Image,
    owner: str,
    ctx: RunContext,
    show: Callable[[SliceScores], None] = lambda _: None,
) -> SliceScores:
    """Scores of all slices, as the Case page gives them; ticks once a slice.

    Args:
        show: called after each batch.

    Raises:
        SightlineError: the model cannot read the slices.
        Cancelled: the user stopped the work.
    """
    empty = no_scores(desk, model_id, image.depth)
    logits, probabilities = empty.logits.copy(), empty.probabilities.copy()
    warnings: dict[str, int] = {}
    bits: NDArray[np.uint8] | None = None
    found = empty
    for start in range(0, image.depth, BATCH):
        part = range(start, min(start + BATCH, image.depth))
        for index, answer in zip(part, _batch(desk, model_id, image, part, owner, ctx), strict=True):
            logits[index], probabilities[index] = answer.logits, answer.probabilities
            for warning in answer.warnings:
                kind = warning.split(":")[0].rstrip(".")  # without the figures of one slice
                warnings[kind] = warnings.get(kind, 0) + 1
            if answer.found is not None:
                packed = np.packbits(answer.found, axis=-1)
                if bits is None:
                    bits = np.zeros((len(packed), image.depth, *packed.shape[1:]), dtype=np.uint8)
                bits[:, index] = packed
        ctx.tick(len(part))
        found = SliceScores(
            empty.classes,
            logits.copy(),
            probabilities.copy(),
            empty.thresholds,
            empty.exclusive,
            dict(warnings),
            bits,
        )
        show(found)
    return found


def _batch(desk: Desk, model_id: str, image: Image, part: range, owner: str, ctx: RunContext) -> tuple[Prediction, ...]:
    key = f"scores-{owner}-{model_id}-{part.start}"
    return desk.do_in_turn(
        key, lambda own: desk.engine.predict(model_id, [image.slice(index) for index in part], own), owner, ctx
    )
