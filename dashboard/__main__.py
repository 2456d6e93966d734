"""``python -m dashboard COMMAND``: the dashboard's functions without the browser.

Progress goes to stderr, results to files, one JSON line to stdout. Exit code 0, or 2 with one sentence.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.errors import SightlineError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
screen = Console(stderr=True)
NAMED = 3  # images named beside a sentence that is true of many

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or a model folder of your own.")]
SliceOption = Annotated[
    int | None, typer.Option("--slice", help="Slice of a volume, from 0; the middle one if not given.")
]


def _stop(message: str) -> typer.Exit:
    screen.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(2)


def _sentence(error: Exception) -> str:
    """One line for people: our own errors say it themselves, the system's are named."""
    if isinstance(error, SightlineError):
        return str(error)
    if isinstance(error, OSError):
        return f"The output cannot be written ({error.strerror or type(error).__name__}); choose another --out."
    return f"The network cannot run here: {str(error).splitlines()[0]}; check SIGHTLINE_DEVICE."


def _answer(**facts: Any) -> None:
    typer.echo(json.dumps(facts))


@app.command()
def explain(
    images: Annotated[list[Path], typer.Argument(help="Image files, series folders or zips.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="Folder for the maps.")],
    methods: Annotated[
        str, typer.Option(help="Method ids, separated by commas.")
    ] = "grad-cam,integrated-gradients,occlusion",
    target: Annotated[str | None, typer.Option(help="Class to explain; the flagged ones if not given.")] = None,
    slice_index: SliceOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the methods that draw at random.")] = 0,
) -> None:
    """Write raw maps (.npz), overlays (.png) and manifest.json for each image and method."""
    from dashboard.batch import explain_paths

    try:
        with Progress(console=screen, transient=True) as progress:
            bar = progress.add_task("explaining", total=1.0)
            done = explain_paths(
                images,
                model,
                [name.strip() for name in methods.split(",") if name.strip()],
                target,
                out,
                slice_index,
                seed,
                lambda fraction: progress.update(bar, completed=fraction),
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise _stop(_sentence(error)) from None
    _report(done.failures)
    _report({name: " ".join(said) for name, said in done.warnings.items()})
    if not done.read:
        raise _stop("None of the images could be read.")
    if not done.written:
        raise _stop("No explanation could be computed; the reasons are above and in manifest.json.")
    _answer(
        maps=done.written,
        images=done.read,
        skipped=len(done.failures),
        warned=len(done.warnings),
        manifest=str(out / "manifest.json"),
    )


@app.command()
def predict(
    image: Annotated[Path, typer.Argument(help="An image file, or a folder or zip of images.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="File for the scores, .parquet or .csv.")],
    slice_index: SliceOption = None,
) -> None:
    """Write one row an image: its name and score_<class>, calibrated probabilities.

    A segmentation model adds share, area and number of separate areas, and writes its masks to OUT.masks.
    """
    from dashboard.batch import predict_path

    try:
        with screen.status("Scoring ..."):
            done = predict_path(image, model, out, slice_index)
    except (SightlineError, OSError, RuntimeError) as error:
        raise _stop(_sentence(error)) from None
    _report(done.failures)
    _report({name: " ".join(said) for name, said in done.warnings.items()})
    if not done.written:
        raise _stop("None of the images could be read." if not done.read else "None of the images could be scored.")
    _answer(images=done.written, skipped=len(done.failures), warned=len(done.warnings), scores=str(out))


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
        raise _stop(_sentence(error)) from None
    for note in done.notes:
        screen.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    macro = done.macro
    _answer(
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


@app.command()
def samples(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fill the medmnist cache from the network first.")] = False,
) -> None:
    """List the sample cases with origin and licence."""
    from sample_data import samples as library

    try:
        if fetch:
            library.fetch()
        entries = library.list_samples()
    except SightlineError as error:
        raise _stop(str(error)) from None
    table = Table()
    table.add_column("id", no_wrap=True, overflow="ignore")
    for name in ("title", "system", "kind", "licence"):
        table.add_column(name)
    for entry in entries:
        table.add_row(entry.id, entry.title, entry.system, entry.kind, entry.licence)
    screen.print(table)
    _answer(samples=[entry.id for entry in entries])


def _report(failures: dict[str, str]) -> None:
    names: dict[str, list[str]] = {}
    for name, message in failures.items():
        names.setdefault(message, []).append(name)
    for message, told in names.items():
        who = ", ".join(told) if len(told) <= NAMED else f"{', '.join(told[:NAMED])} and {len(told) - NAMED} more"
        screen.print(f"{who}: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    app()
