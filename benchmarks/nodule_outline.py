"""Nodules outlined from a point, against the readers of LIDC-IDRI: ``python -m benchmarks.nodule_outline --data DIR``.

The point is the middle of each patch, as a reader would click near the middle of a nodule. DIR is a folder with ``nodules.csv``,
``image`` and ``nodule_mask`` (see sample_data/folders/lidc_nodules.py). Prints a table in Markdown: medians with 95 %
intervals from 1,000 draws of whole patients, and limits of agreement. The last fifth of the patients, on which nothing was
chosen, stands apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from dashboard.quantify.grid import geometry_of, mask_of
from dashboard.quantify.nodule import measure_nodule, outline_nodule
from dashboard.quantities import dice
from models.errors import DataError
from models.io import read_case
from models.types import Modality

REPLICATES = 1000
LATE = 0.2  # share of the patients, the last ones
SIZES = (0, 6, 8, 15, np.inf)


def measured(data: Path, patient: str, name: str) -> dict[str, float | str]:
    """One nodule: the readers' size, whether it could be outlined, Dice, volume ratio and difference in diameter."""
    image = read_case(data / "image" / name, modality=Modality.CT).image
    reference = mask_of(read_case(data / "nodule_mask" / name, modality=Modality.OTHER).image, "The mask") > 0
    geometry = geometry_of(image)
    truth = measure_nodule(reference, geometry)
    row: dict[str, float | str] = {"patient": patient, "size": truth.mean_mm}
    depth, height, width = reference.shape
    try:
        found = outline_nodule(image, (width // 2, height // 2, depth // 2))
    except DataError:
        return row
    ours = measure_nodule(found, geometry)
    return row | {
        "dice": dice(found, reference),
        "volume": ours.volume_ml / truth.volume_ml,
        "diameter": ours.mean_mm - truth.mean_mm,
        "error": abs(ours.mean_mm - truth.mean_mm),
    }


def interval(
    table: pd.DataFrame, figure: Callable[[pd.DataFrame], float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """A figure and its 95 % interval over patients."""
    groups = list(table.groupby("patient").indices.values())
    drawn = [
        figure(table.iloc[np.concatenate([groups[k] for k in rng.integers(len(groups), size=len(groups))])])
        for _ in range(REPLICATES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return figure(table), float(low), float(high)


def line(title: str, table: pd.DataFrame) -> str:
    """A row of the table."""
    rng = np.random.default_rng(0)

    def median(name: str) -> Callable[[pd.DataFrame], float]:
        return lambda part: float(part[name].median())

    found = [interval(table, lambda part: float(part["dice"].notna().mean()), rng)]
    found += [interval(table, median(name), rng) for name in ("dice", "volume", "diameter", "error")]
    cells = [f"{value:.2f} ({low:.2f} to {high:.2f})" for value, low, high in found]
    spread = "{:+.1f} to {:+.1f}".format(*table["diameter"].quantile([0.025, 0.975]))
    return f"| {title} | {len(table)} | " + " | ".join(cells) + f" | {spread} |"


def report(table: pd.DataFrame) -> Sequence[str]:
    """The table in Markdown."""
    patients = sorted(table["patient"].unique())
    late = table["patient"].isin(patients[round((1 - LATE) * len(patients)) :])
    lines = [
        "| nodules | n | outlined | Dice, median | volume / readers', median | diameter minus readers', median mm | "
        "absolute difference, median mm | 95 % of differences, mm |",
        "|" + " --- |" * 8,
        line("all", table),
        line("last fifth of the patients", table[late]),
    ]
    bands = pd.cut(table["size"], SIZES, labels=["under 6 mm", "6 to 8 mm", "8 to 15 mm", "15 mm and more"])
    return [*lines, *(line(str(name), part) for name, part in table.groupby(bands, observed=True))]


def main(data: Annotated[Path, typer.Option(help="Folder with the LIDC-IDRI patches.")]) -> None:
    rows = pd.read_csv(data / "nodules.csv")
    rows["file"] = rows.patient_id + "_R_" + rows.nodule_id.astype(str) + ".nii.gz"
    rows = rows[[(data / "image" / name).exists() for name in rows.file]].drop_duplicates("file")
    pairs = list(zip(rows.patient_id, rows.file, strict=True))
    table = pd.DataFrame([measured(data, patient, name) for patient, name in track(pairs, "outlining")])
    print("\n".join(report(table)))


if __name__ == "__main__":
    typer.run(main)
