"""``python -m dashboard COMMAND``: the dashboard's functions without the browser.

Progress goes to stderr, results to files, one JSON line to stdout. Exit code 0, or 2 with one sentence.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from models.errors import SightlineError

if TYPE_CHECKING:
    from dashboard.folder_runs.runs import Told

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
screen = Console(stderr=True)
SECONDS = 30.0  # between lines of progress where there is no terminal

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or a model folder of your own.")]
SliceOption = Annotated[
    int | None, typer.Option("--slice", help="Slice of a volume, from 0; the middle one if not given.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=0, help="Processes that decode; 0: none. If not given: none for a few files, else all cores but one."
    ),
]
RestartOption = Annotated[bool, typer.Option("--restart", help="Throw away what an earlier call left in the output.")]


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
    workers: WorkersOption = None,
    restart: RestartOption = False,
) -> None:
    """Write raw maps (.npz), overlays (.png) and manifest.json for each image and method.

    Called again, it goes on where it was stopped, by OUT/explain.journal; with other settings it removes the maps that
    this journal lists.
    """
    from dashboard.folder_runs.runs import explain_paths

    try:
        with _meter("explaining") as show:
            done = explain_paths(
                images,
                model,
                [name.strip() for name in methods.split(",") if name.strip()],
                target,
                out,
                slice_index,
                seed,
                show,
                workers,
                restart,
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise _stop(_sentence(error)) from None
    _report(done.failures)
    _report(done.warnings)
    if not done.read:
        raise _stop("None of the images could be read.")
    if not done.written:
        raise _stop("No explanation could be computed; the reasons are above and in manifest.json.")
    _answer(
        maps=done.written,
        images=done.read,
        skipped=done.failures.images,
        warned=done.warnings.images,
        images_per_second=done.rate,
        manifest=str(out / "manifest.json"),
    )


@app.command()
def predict(
    image: Annotated[Path, typer.Argument(help="An image file, or a folder or zip of images.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="File for the scores, .parquet or .csv.")],
    slice_index: SliceOption = None,
    workers: WorkersOption = None,
    restart: RestartOption = False,
) -> None:
    """Write one row an image: its name and score_<class>, calibrated probabilities.

    A segmentation model adds share, area and number of separate areas, and writes its masks to OUT.masks. Called
    again, it goes on where it was stopped, by OUT.journal.
    """
    from dashboard.folder_runs.runs import predict_path

    try:
        with _meter("scoring") as show:
            done = predict_path(image, model, out, slice_index, show, workers, restart)
    except (SightlineError, OSError, RuntimeError) as error:
        raise _stop(_sentence(error)) from None
    _report(done.failures)
    _report(done.warnings)
    if not done.written:
        raise _stop("None of the images could be read." if not done.read else "None of the images could be scored.")
    _answer(
        images=done.written,
        skipped=done.failures.images,
        warned=done.warnings.images,
        images_per_second=done.rate,
        scores=str(out),
    )


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
def quantify(
    out: Annotated[Path, typer.Option(help="Folder for quantities.json, CSV tables and masks.")],
    scan: Annotated[
        Path | None, typer.Argument(help="Chest CT: NIfTI, DICOM folder or zip; none for a mask alone.")
    ] = None,
    lesions: Annotated[
        Path | None, typer.Option(help="Mask of the lesions; the model marks them if not given.")
    ] = None,
    lungs: Annotated[Path | None, typer.Option(help="Mask of the lungs; they are segmented if not given.")] = None,
    model: ModelOption = "pneumonia-ct",
    connectivity: Annotated[int, typer.Option(help="Voxels that belong together: 6, 18 or 26 neighbours.")] = 26,
    minimum: Annotated[
        float | None, typer.Option(help="Smallest lesion in mm3; if not given, 0 for a mask, 100 for a model.")
    ] = None,
) -> None:
    """Write volume, number, density and place of the lesions of a chest CT, and what share of each lung they take."""
    from dashboard.quantify.command import answer_of, quantify_paths

    try:
        with _meter("marking lesions") as show:
            done = quantify_paths(scan, lesions, lungs, model, out, connectivity, minimum, show)
    except (SightlineError, OSError, RuntimeError) as error:
        raise _stop(_sentence(error)) from None
    for warning in done.study.warnings:
        screen.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)
    _answer(**answer_of(done, out))


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


@contextmanager
def _meter(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with done and total, images a second and the time left; away from a terminal a line now and then."""
    pace = _Pace()
    if screen.is_terminal:
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
        with Progress(*columns, console=screen, transient=True) as progress:
            bar = progress.add_task(doing, total=None, pace="")
            yield lambda done, total: progress.update(bar, completed=done, total=total, pace=pace.words(done, total))
        return

    def tell(done: int, total: int | None) -> None:
        words = pace.words(done, total)
        if pace.due():
            of = "" if total is None else f"{done:,} of {total:,}, "
            screen.print(f"{doing}: {of}{words}", highlight=False, soft_wrap=True)

    yield tell


class _Pace:
    """How fast a run goes, from the first sight of it: what an earlier call had done does not count."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def due(self) -> bool:
        if time.monotonic() - self._told < SECONDS:
            return False
        self._told = time.monotonic()
        return True

    def words(self, done: int, total: int | None) -> str:
        """Files a second, and the time left."""
        if total is None:
            return "looking through the files"
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        pace = (done - self._first) / max(time.monotonic() - self._began, 1e-6)
        left = f", {timedelta(seconds=round((total - done) / pace))} left" if pace else ""
        return f"{pace:.1f} a second{left}"


def _report(told: Told) -> None:
    for sentence, (count, names) in told.sentences.items():
        who = f"{', '.join(names)} and {count - len(names):,} more" if count > len(names) else ", ".join(names)
        screen.print(f"{who}: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if told.unsaid:
        screen.print(f"And {told.unsaid:,} more; all are in the manifest.", style="yellow", highlight=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    app()
