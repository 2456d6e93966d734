"""Evaluation tables: one row a case and class, as the audit reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import ModelCard
from models.errors import DataError
from models.training.masks import mask_figures
from models.training.recipe import GROUP, ID, SPLIT, Recipe
from models.training.scoring import Scored, probabilities
from models.types import FloatArray, favoured

FILE = "file"  # names the image in the data folder
COLUMNS = (ID, GROUP, "class", "label", "score", "raw_score", SPLIT)


@dataclass(frozen=True, eq=False)
class Wide:
    """A table with one row a case again.

    Attributes:
        cases: the columns that belong to the case. groups: (n,) str.
        labels: (n, K) bool. scores, raw: (n, K) float64, probabilities with and without calibration.
    """

    cases: pd.DataFrame
    groups: NDArray[np.str_]
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]
    raw: NDArray[np.float64]


def long_table(recipe: Recipe, card: ModelCard, scored: Scored) -> pd.DataFrame:
    """``COLUMNS``, the file where the rows name one, then the recipe's attributes and, for segmentation, the figures of :func:`mask_figures`.

    ``label`` is int8 in {0, 1}; ``score`` the calibrated and ``raw_score`` the uncalibrated probability, float32.
    """
    classes = len(card.classes)
    rows = scored.rows.loc[scored.rows.index.repeat(classes)].reset_index(drop=True)
    table = pd.DataFrame(
        {
            ID: rows[ID].astype(str),
            GROUP: rows[GROUP].astype(str),
            "class": list(card.classes) * len(scored.rows),
            "label": scored.labels.astype(np.int8).ravel(),
            "score": probabilities(card, scored.logits).ravel(),
            "raw_score": probabilities(card, scored.logits, raw=True).ravel(),
            SPLIT: rows[SPLIT].astype(str),
        }
    )
    if FILE in rows:
        table[FILE] = rows[FILE].astype("string")
    for name in recipe.attributes:
        column = rows[name]
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        table[name] = column.astype(np.float32) if numeric else column.astype("string")
    return table if scored.pixels is None else table.join(mask_figures(card, scored.pixels))


def write_table(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Raises DataError where the file is missing or is no evaluation table."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"The evaluation table {path.name} cannot be read: {error}; release the model again.") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(f"The evaluation table {path.name} lacks the column {missing[0]!r}; release the model again.")
    return table


def widen(table: pd.DataFrame, classes: tuple[str, ...]) -> Wide:
    """Raises DataError where a case does not have each class once, in the card's order."""
    if table["class"].tolist() != list(classes) * (len(table) // len(classes)):
        raise DataError(f"The evaluation table must list {', '.join(classes)} for every case, in this order.")
    cases = table.iloc[:: len(classes)].reset_index(drop=True)
    return Wide(
        cases,
        cases[GROUP].to_numpy(dtype=np.str_),
        table["label"].to_numpy(bool).reshape(-1, len(classes)),
        table["score"].to_numpy(np.float64).reshape(-1, len(classes)),
        table["raw_score"].to_numpy(np.float64).reshape(-1, len(classes)),
    )


def subgroups(cases: pd.DataFrame, attribute: str) -> dict[str, NDArray[np.bool_]]:
    """Named parts of (n,) cases by the value of a column; "unknown" where nothing is said."""
    text = cases[attribute].astype("string").fillna("unknown").replace("", "unknown")
    title = attribute.replace("_", " ")
    return {f"{title} {value}": (text == value).to_numpy(bool) for value in sorted(text.unique())}


def counts(rows: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Positive cases by split and class."""
    return {str(split): {name: int(part[name].sum()) for name in classes} for split, part in rows.groupby(SPLIT)}


def decided(card: ModelCard, scores: FloatArray | NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, K) probabilities to (n, K) decisions at the card's operating points."""
    if card.exclusive:
        return np.eye(len(card.classes), dtype=bool)[favoured(scores, card.threshold_array)]
    return np.asarray(scores >= card.threshold_array)
