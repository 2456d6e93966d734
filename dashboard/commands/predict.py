"""``python -m dashboard predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import (
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
)
from models.errors import SightlineError


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
        with meter("scoring") as show:
            done = predict_path(image, model, out, slice_index, show, workers, restart)
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
