"""``python -m dashboard audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from dashboard.commands.shared import answer, app, screen, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def audit(
    table: Annotated[
        str, typer.Argument(help="Scores and labels, .csv or .parquet; or the id of a model with a stored evaluation.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, CSV tables and report.html.")],
    model: Annotated[str, typer.Option(help="Model that gave the scores: its operating points and card count.")] = "",
    groups: Annotated[str, typer.Option(help="Columns to report by, separated by commas.")] = "",
    split: Annotated[
        str, typer.Option(help="Part to audit (test, val ...), or all; if not given, test where there is such a part.")
    ] = "",
    against: Annotated[
        str, typer.Option(help="A second table of the same cases (probabilities), or a model id, to compare with.")
    ] = "",
    logits: Annotated[bool, typer.Option("--logits", help="The scores of TABLE are logits.")] = False,
    replicates: Annotated[int, typer.Option(min=0, help="Bootstrap replicates.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Write every figure of a table of scores and labels, with intervals, and a report that needs no network."""
    from dashboard.batch_audit import audit_path

    try:
        with Progress(console=screen, transient=True) as progress:
            bar = progress.add_task("auditing", total=1.0)
            done = audit_path(
                table,
                out,
                model,
                [name.strip() for name in groups.split(",") if name.strip()],
                split,
                logits,
                replicates,
                seed,
                lambda fraction: progress.update(bar, completed=fraction),
                against,
            )
    except (SightlineError, OSError) as error:
        raise stop(sentence(error)) from None
    warn(done.notes)
    macro = done.macro
    answer(
        cases=done.n,
        splits=done.splits,
        patients=done.patients,
        macro_auroc=macro.get("auroc"),
        macro_auroc_ci=macro.get("auroc_ci"),
        worst_class=done.worst_class,
        worst_subgroup=done.worst_subgroup,
        groups_compared=0 if done.weakest is None else done.weakest.groups,
        metrics=str(out / "metrics.json"),
        report=str(out / "report.html"),
    )
