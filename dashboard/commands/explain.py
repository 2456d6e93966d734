"""``python -m dashboard explain``."""

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
def explain(
    images: Annotated[
        list[Path],
        typer.Argument(help="Image files, folders, zips, or listings (.csv, .parquet, .txt) of paths."),
    ],
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
    engine: EngineOption = "local",
    address: AddressOption = "",
    gpus: GpusOption = 0.0,
) -> None:
    """Write raw maps (.npz), overlays (.png) and manifest.json for each image and method.

    Called again, it goes on where it was stopped, by OUT/explain.journal; with other settings it removes the maps that
    this journal lists.
    """
    from dashboard.folder_runs.runs import explain_paths

    workplace = where(engine, workers, address, gpus)
    try:
        with stoppable(), meter("explaining") as show:
            done = explain_paths(
                images,
                model,
                [name.strip() for name in methods.split(",") if name.strip()],
                target,
                out,
                slice_index,
                seed,
                show,
                restart=restart,
                where=workplace,
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    report(done.failures)
    report(done.warnings)
    if not done.read:
        raise stop("None of the images could be read.")
    if not done.written:
        raise stop("No explanation could be computed; the reasons are above and in manifest.json.")
    answer(
        maps=done.written,
        images=done.read,
        skipped=done.failures.images,
        warned=done.warnings.images,
        images_per_second=done.rate,
        manifest=str(out / "manifest.json"),
    )
