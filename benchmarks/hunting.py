"""What hunts for failures find in the shipped models: ``python -m benchmarks.hunting [MODEL ...] --data DIR [--write]``.

Test cases alone: what is left of decisions and maps on worse pictures, maps of groups of patients, and the index of the
nearest cases. ``--write`` puts the results into ``models/zoo/<id>/evaluation``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.networks import shipped_cards
from dashboard.audit.reading import zoo_table
from dashboard.hunting import drift, neighbours, robustness
from dashboard.hunting.cohort import cohort
from dashboard.hunting.drift_result import FILE as DRIFT
from dashboard.hunting.drift_result import Drift
from dashboard.hunting.robustness_result import FIGURES, Robustness, losses
from dashboard.hunting.robustness_result import FILE as ROBUSTNESS
from dashboard.hunting.stored import write_result
from dashboard.images import ImageFolder
from dashboard.serving.local import LocalEngine
from dashboard.settings import ZOO
from models.context import RunContext
from models.errors import DataError
from sample_data.folders import image_folder

# Pictures made worse; each costs 40 passes and, of the first 60, as many maps.
IMAGES = {
    "chest-xray-14": 180,
    "skin-lesion-7": 120,
    "brain-tumor-mri": 120,
    "lung-nodule": 95,
    "lung-cancer-ct": 120,
    "pneumonia-ct": 40,
}


def robustness_table(found: Robustness) -> str:
    """Sensitivity and specificity of each class by corruption, at strengths 2 and 4, and how well maps are kept."""
    head = ("corruption", "class", "figure", "unchanged", "strength 2", "strength 4", "maps, strength 2")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for curves in found.corruptions:
        for name, points in curves.classes.items():
            for figure in FIGURES:
                own = [getattr(one, figure) for one in (found.clean[name], points[1], points[3])]
                if own[0].value is not None:
                    words = " | ".join(one.rounded(2) for one in own)
                    lines.append(f"| {curves.title} | {name} | {figure} | {words} | {points[1].drift.rounded(2)} |")
    return "\n".join(lines)


def drift_table(found: Drift) -> str:
    lines = [
        "| class | group | n | others | elsewhere | by chance | p | corrected |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found.comparisons:
        lines.append(
            f"| {one.finding} | {one.attribute} {one.group} | {one.n} | {one.others} | {one.distance:.0%} | "
            f"{one.chance:.0%} | {one.p:.4f} | {one.adjusted:.3f} |"
        )
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all that have pictures if not given.")] = None,
    only: Annotated[str, typer.Option(help="robustness, drift or neighbours; all if not given.")] = "",
    write: Annotated[bool, typer.Option("--write", help="Store the results with the models.")] = False,
) -> None:
    torch.set_num_threads(1)
    os.environ["SIGHTLINE_DATA"] = str(data)
    engine = LocalEngine([ZOO])
    for name in models or IMAGES:
        card, folder = shipped_cards()[name], image_folder(name)
        if folder is None:
            typer.echo(f"{name}: no pictures in {data.name}", err=True)
            continue
        cases = cohort(zoo_table(card).in_split("test"), ImageFolder(folder), card)
        began = time.process_time()

        if only in ("", "robustness"):
            made = robustness.measure(engine, robustness.enriched(cases, IMAGES[name]), RunContext())
            began = _took(began, f"{name}: robustness of {made.cases} cases")
            typer.echo(f"\n{robustness_table(made)}\n")
            for one in losses(made):
                typer.echo(f"- {one.words}")
            if write:
                write_result(card, ROBUSTNESS, made)
        if only in ("", "drift"):
            try:
                compared = drift.measure(engine, cases, RunContext(), most=100)
            except DataError as error:
                typer.echo(f"{name}: {error}", err=True)
            else:
                began = _took(
                    began, f"{name}: maps of {compared.cases} cases, {len(compared.not_compared)} groups not compared"
                )
                typer.echo(f"\n{drift_table(compared)}\n")
                if write:
                    write_result(card, DRIFT, compared)
        if only in ("", "neighbours"):
            index = neighbours.build(engine, robustness.enriched(cases, neighbours.MOST), RunContext())
            began = _took(began, f"{name}: index of {len(index)} cases, {index.kept:.3f} of the ten nearest kept")
            if write:
                neighbours.write_index(index, card.folder / neighbours.FILE)


def _took(began: float, what: str) -> float:
    now = time.process_time()
    typer.echo(f"\n{what}, {now - began:.0f} s CPU", err=True)
    return now


if __name__ == "__main__":
    typer.run(main)
