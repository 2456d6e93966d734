"""The test part through a released model, and whether that reproduces the figures released with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.card import Measure, ModelCard
from models.errors import DataError
from models.evaluation import METRICS_FILE
from models.handle import ModelHandle
from models.training.leaks import LEAKED, count
from models.training.measures import confusion, decisions, measures
from models.training.recipe import Recipe
from models.training.scoring import Scored, rows_of, score
from models.training.tables import long_table, read_table

FOLDER, TEST, VALIDATION = METRICS_FILE.parent, "test.parquet", "validation.parquet"
AS_PUBLISHED = "test as published"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the test part gave.

    Attributes:
        table: one row a case and class, see :func:`models.training.tables.long_table`.
        measures: every figure with its interval.
        metrics: the same and the counts, as ``metrics.json`` holds them.
        scored: logits and features of the test part.
    """

    table: pd.DataFrame
    measures: tuple[Measure, ...]
    metrics: dict[str, Any]
    scored: Scored


def evaluate(recipe: Recipe, data: Path, card: ModelCard, device: str = "cpu") -> Evaluation:
    """Score the test part of ``data`` with a card's model and measure it.

    Where the recipe sets test images aside as leaked, the figures of the test part as published come beside.
    """
    return evaluate_with(ModelHandle.load(card, device), recipe, data)


def evaluate_with(handle: ModelHandle, recipe: Recipe, data: Path) -> Evaluation:
    """The same with a model that is loaded."""
    card = handle.card
    scored = score(handle, recipe, data, rows_of(recipe, data, "test"), "test part")
    table = long_table(recipe, card, scored)
    found = measures(card, table, recipe.subgroups)
    leaked = rows_of(recipe, data, LEAKED)
    if len(leaked):
        more = long_table(recipe, card, score(handle, recipe, data, leaked, "leaked images"))
        whole = pd.concat([table, more], ignore_index=True)
        note = f"with {len(leaked)} images that repeat others, as the split was published"
        found += [
            one.model_copy(update={"note": f"{one.note}; {note}" if one.note else note})
            for one in measures(card, whole, split=AS_PUBLISHED)
            if not one.subject or card.task == "binary"
        ]
    counted = count(recipe, recipe.rows(data))
    metrics: dict[str, Any] = {
        "model": card.id,
        "weights_sha256": card.weights.sha256,
        "measures": [one.model_dump() for one in found],
        "confusion": confusion(card, table),
        "decisions": decisions(card, table),
        "counts": counted.counts,
        "cases": counted.cases,
        "groups": counted.groups,
        "group_unit": recipe.group_unit,
    }
    return Evaluation(table, tuple(found), metrics, scored)


def difference(evaluation: Evaluation, card: ModelCard) -> float:
    """Largest difference between an evaluation and what is stored beside the card: scores, figures, intervals.

    Raises:
        DataError: nothing is stored, or other cases, figures or model weights were measured.
    """
    stored = read_metrics(card)
    table = read_table(card.folder / FOLDER / TEST)
    keys = ["case_id", "class", "label"]
    if table[keys].values.tolist() != evaluation.table[keys].values.tolist():
        raise DataError(f"The stored evaluation of {card.id} has other cases or labels than this data folder.")
    if stored["weights_sha256"] != card.weights.sha256 or stored["counts"] != evaluation.metrics["counts"]:
        raise DataError(f"The stored evaluation of {card.id} is of other weights or other data; release it again.")
    score_gap = np.abs(table[["score", "raw_score"]].to_numpy() - evaluation.table[["score", "raw_score"]].to_numpy())
    gaps = [float(score_gap.max())]
    if len(stored["measures"]) != len(evaluation.measures):
        raise DataError(f"The stored evaluation of {card.id} lists other figures; release it again.")
    for old, new in zip(stored["measures"], evaluation.metrics["measures"], strict=True):
        if any(old[name] != new[name] for name in ("metric", "subject", "subgroup", "split")):
            raise DataError(f"The stored evaluation of {card.id} lists other figures; release it again.")
        gaps += [_gap(old[name], new[name]) for name in ("value", "low", "high")]
    return max(gaps)


def read_metrics(card: ModelCard) -> Mapping[str, Any]:
    """``metrics.json`` beside a card. Raises DataError where it is missing or not of this form."""
    path = card.folder / METRICS_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict) and {"measures", "counts", "weights_sha256"} <= stored.keys():
            return stored
    except (OSError, ValueError):
        pass
    raise DataError(f"Model {card.id} has no usable {METRICS_FILE.as_posix()}; release it again with its recipe.")


def _gap(old: float | None, new: float | None) -> float:
    if old is None or new is None:
        return 0.0 if old is new else float("inf")
    return abs(old - new)
