"""``python -m dashboard predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import (
    AddressOption,
    EngineOption,
    GpusOption,
    ModelOption,
    RestartOption,
    SliceOption,
    WorkersOption,
    answer,
    app,
    meter,
    report,
    sentence,
    stop,
    stoppable,
    where,
)
from models.errors import SightlineError


@app.command()
def predict(
    image: Annotated[
        Path,
        typer.Argument(
            help="An image file, a folder or zip of images, or a listing (.csv, .parquet or .txt with one path a line)."
        ),
    ],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="File for the scores, .parquet or .csv.")],
    slice_index: SliceOption = None,
    workers: WorkersOption = None,
    restart: RestartOption = False,
    engine: EngineOption = "local",
    address: AddressOption = "",
    gpus: GpusOption = 0.0,
) -> None:
    """Write one row an image: its name and score_<class>, calibrated probabilities.

    A segmentation model adds share, area and number of separate areas, and writes its masks to OUT.masks. Called
    again, it goes on where it was stopped, by OUT.journal, whoever does the work. With --engine ray on several machines,
    images, model and OUT lie on a disk that all of them share.
    """
    from dashboard.folder_runs.runs import predict_path

    workplace = where(engine, workers, address, gpus)
    try:
        with stoppable(), meter("scoring") as show:
            done = predict_path(image, model, out, slice_index, show, restart=restart, where=workplace)
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    report(done.failures)
    report(done.warnings)
    if not done.written:
        raise stop("None of the images could be read." if not done.read else "None of the images could be scored.")
    answer(
        images=done.written,
        skipped=done.failures.images,
        warned=done.warnings.images,
        images_per_second=done.rate,
        scores=str(out),
    )
