"""Where lesions of each class lie: ``python -m benchmarks.abcd_ranges --data DIR`` writes them beside skin-lesion-outline.

ABCD measures of HAM10000 (see models/training/recipes/skin_lesion_outline.py), of at most ``MOST`` lesions of a class, one
picture each: with the outlines drawn by people, of all parts; with those of the model, of the test part.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from dashboard.quantify.abcd_ranges import COMPARED, FEW, FILE, Outline, Ranges, range_of
from dashboard.quantify.dermoscopy import abcd, outline_of
from dashboard.settings import ZOO
from models.card import read_card
from models.errors import DataError
from models.handle import ModelHandle
from models.training.recipe import GROUP, SPLIT
from models.training.recipes.skin_lesion_outline import image, mask, rows

MOST = 600


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """One picture a lesion, at most ``MOST`` lesions of a class, at equal steps."""
    table = table.drop_duplicates(GROUP)
    parts = [
        part.iloc[np.linspace(0, len(part) - 1, min(MOST, len(part))).round().astype(int)]
        for _, part in table.groupby("diagnosis")
    ]
    return pd.concat(parts)


def measured(data: Path, table: pd.DataFrame, handle: ModelHandle | None) -> pd.DataFrame:
    """A row a lesion, with its class; outlines of the model where one is given. Lesions that cannot be measured are left out."""
    found = []
    for row in track(table.to_dict("records"), "measuring"):
        picture = image(data, row)
        if handle is None:
            (outline,) = mask(data, row)
        else:
            (prediction,) = handle.predict([picture])
            outline = outline_of(prediction)
        try:
            measures = abcd(picture, outline).measures
        except DataError:
            continue
        found.append({"diagnosis": row["diagnosis"]} | {one.id: one.value for one in measures if one.id in COMPARED})
    return pd.DataFrame(found)


def main(data: Annotated[Path, typer.Option(help="Folder with HAM10000.")]) -> None:
    card = read_card(ZOO / "skin-lesion-outline")
    table = rows(data)
    parts: dict[Outline, pd.DataFrame] = {
        "reference": measured(data, chosen(table), None),
        "model": measured(data, chosen(table[table[SPLIT] == "test"]), ModelHandle.load(card)),
    }
    by = {
        outline: {
            str(name): {
                measure: range_of(measure, part[measure].dropna())
                for measure in COMPARED
                if part[measure].notna().any()
            }
            for name, part in found.groupby("diagnosis")
        }
        for outline, found in parts.items()
    }
    said = (
        "lesions of HAM10000 (Tschandl et al. 2018), one picture each, those beyond the edge of the picture left out."
    )
    ranges = Ranges(made_of=said, by=by)
    text = json.dumps(ranges.model_dump(exclude_defaults=True), separators=(",", ":"))
    (card.folder / FILE).write_text(text + "\n", encoding="utf-8")
    for outline, found in parts.items():
        print(f"\n{outline}: {len(found)} lesions; medians, classes with {FEW} or more")
        print(found.groupby("diagnosis").median(numeric_only=True).round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
