"""Proof that no group and no image stands on two sides of a split, and the counts that go with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from models.errors import DataError
from models.training.recipe import GROUP, ID, SPLIT, Recipe
from models.training.scoring import progress, records_of
from models.training.splits import PARTS
from models.training.tables import counts
from models.types import Image

LEAKED = "leaked"  # test images as published that repeat a training image: no part of the test


@dataclass(frozen=True)
class SplitCounts:
    """Images and groups by split, and positive images by split and class."""

    cases: dict[str, int]
    groups: dict[str, int]
    counts: dict[str, dict[str, int]]


def check_splits(recipe: Recipe, data: Path) -> SplitCounts:
    """Read every image of the three parts and count.

    Raises:
        DataError: a part is empty, or a group or an identical image (SHA-256 of the decoded values) is in two.
    """
    every = recipe.rows(data)
    rows = every[every[SPLIT].isin(PARTS)].reset_index(drop=True)
    for part in PARTS:
        if part not in set(rows[SPLIT]):
            raise DataError(f"Recipe {recipe.id} finds no {part} images in {data.name!r}; check the data folder.")
    _one_side(recipe, rows, rows[GROUP].astype(str), "a patient, lesion or other group")
    digests = [_digest(recipe.image(data, row)) for row in progress(records_of(rows), "comparing images")]
    _one_side(recipe, rows, pd.Series(digests, dtype=str), "an identical image")
    return count(recipe, every)


def count(recipe: Recipe, rows: pd.DataFrame) -> SplitCounts:
    """Of a recipe's rows, whatever their split."""
    by_split = rows.groupby(SPLIT)
    return SplitCounts(
        {str(name): len(part) for name, part in by_split},
        {str(name): part[GROUP].nunique() for name, part in by_split},
        counts(rows, recipe.classes),
    )


def show(found: SplitCounts) -> None:
    """The counts on standard error, for the person who trains."""
    table = pd.DataFrame({"images": found.cases, "groups": found.groups}).T
    Console(stderr=True).print(pd.concat([table, pd.DataFrame(found.counts)]).to_string())


def _one_side(recipe: Recipe, rows: pd.DataFrame, keys: pd.Series[str], what: str) -> None:
    sides = rows[SPLIT].groupby(keys).nunique()
    crossing = sides[sides > 1].index
    if not len(crossing):
        return
    first = rows[keys == crossing[0]].drop_duplicates(SPLIT).iloc[:2]
    places = " and ".join(f"{row[ID]} ({row[SPLIT]})" for _, row in first.iterrows())
    raise DataError(
        f"Recipe {recipe.id}: {what} is on both sides of a split {len(crossing)} times, first in {places}; "
        "keep each on one side."
    )


def _digest(image: Image) -> str:
    return hashlib.sha256(repr(image.values.shape).encode() + image.values.tobytes()).hexdigest()
