"""The trust checks over test cases of the shipped models: ``python -m benchmarks.evidence [MODEL ...] --data DIR [--write]``.

Each case is explained for its leading class by several methods, and every check of every map is run. ``--write`` puts the
counts into ``models/zoo/<id>/evaluation/trust.json``, where the Audit page and the audit's report find them.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.networks import shipped_cards
from dashboard.audit.reading import has_evaluation, zoo_table
from dashboard.hunting.cohort import cohort
from dashboard.hunting.evidence import FILE, METHODS, MOST, TOGETHER, Evidence, measure
from dashboard.hunting.stored import write_result
from dashboard.hunting.turns import at_once
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.settings import ZOO
from dashboard.trust.judge import Judge
from dashboard.trust.store import VerdictStore
from models.context import RunContext

SETTINGS = {"integrated-gradients": {"steps": 33}}


def table(found: Evidence) -> str:
    """As Markdown: by method and check the share of maps that passed, and the mean number."""
    lines = ["| method | check | ok | weak | fails | not assessable | mean number |", "|---|---|---|---|---|---|---|"]
    for one in found.methods.values():
        for check, counts in one.checks.items():
            levels = " | ".join(str(counts.levels[level]) for level in ("ok", "weak", "fails", "not assessable"))
            lines.append(f"| {one.title} | {check} | {levels} | {'' if check == TOGETHER else counts.value.text} |")
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all with an evaluation if not given.")] = None,
    cases: Annotated[int, typer.Option(help="Test cases a model.")] = MOST,
    write: Annotated[bool, typer.Option("--write", help="Store the results with the models.")] = False,
) -> None:
    torch.set_num_threads(1)
    os.environ["SIGHTLINE_DATA"] = str(data)
    from sample_data.folders import image_folder

    cards = shipped_cards()
    for name in models or sorted(one for one, card in cards.items() if has_evaluation(card)):
        folder = image_folder(name)
        if folder is None:
            typer.echo(f"{name}: its images are not in the data folder", err=True)
            continue
        chosen = cohort(zoo_table(cards[name]).in_split("test"), ImageFolder(folder), cards[name], most=cases)
        with tempfile.TemporaryDirectory() as kept:
            desk = Desk(LocalEngine([ZOO]), ResultStore(Path(kept) / "results"))
            judge = Judge(desk, VerdictStore(Path(kept) / "verdicts"))
            ctx, began = RunContext(), time.process_time()
            source = f"{len(chosen)} test cases, drawn at random"
            found = measure(chosen, desk, judge, at_once(ctx), ctx, METHODS, SETTINGS, source)
            desk.close()
        typer.echo(
            f"\n{name}: {found.cases} cases, {time.process_time() - began:.0f} s of one thread\n\n{table(found)}"
        )
        if write:
            write_result(cards[name], FILE, found)


if __name__ == "__main__":
    typer.run(main)
