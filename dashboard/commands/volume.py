"""``python -m dashboard volume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import ModelOption, answer, app, meter, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def volume(
    scan: Annotated[Path, typer.Argument(help="NIfTI, or a DICOM folder or zip of one series.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="Folder for slices.csv, map.nii.gz and volume.json.")],
    method: Annotated[str, typer.Option(help="Method id, for each slice.")] = "grad-cam",
    target: Annotated[
        str | None, typer.Option(help="Class to explain; the leading one of the middle slice if not given.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Explain every so many slices; all are scored.")] = 1,
    occlusion_3d: Annotated[
        bool, typer.Option("--occlusion-3d", help="Hide blocks of the volume instead, coarse ones first.")
    ] = False,
    around: Annotated[
        bool,
        typer.Option(
            "--around", help="Explain one slice over its neighbours instead, for a model that sees several slices."
        ),
    ] = False,
    slice_index: Annotated[
        int | None,
        typer.Option(
            "--slice", help="With --around, or a model of several slices: which, from 0; the highest if not given."
        ),
    ] = None,
    passes: Annotated[
        int, typer.Option(min=16, help="With --occlusion-3d: slices with a block hidden that the network may be shown.")
    ] = 6000,
    seed: Annotated[int, typer.Option(help="Seed of the methods that draw at random.")] = 0,
) -> None:
    """Score every slice of a scan, explain it, and write a map that lies on the scan.

    Called again, it finds what it had done in the cache and goes on from there.
    """
    if occlusion_3d and around:
        raise stop("Choose --occlusion-3d or --around, not both.")
    from dashboard.volumes.command import explain_volume
    from dashboard.volumes.types import Kind

    kind: Kind = "blocks" if occlusion_3d else "around" if around else "slices"
    try:
        with meter("explaining the volume") as show:
            done = explain_volume(scan, model, kind, method, target, every, slice_index, out, passes, seed, show)
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    scores, index = done.result.scores, done.request.target.index
    warn(done.notes)
    warn(f"{said} ({count} of {done.request.image.depth} slices)." for said, count in scores.warnings.items())
    highest = scores.highest(index)
    answer(
        slices=done.request.image.depth,
        explained=int(done.result.map.known.sum()) if done.result.map else 0,
        target=done.request.target.name,
        highest_slice=highest,
        highest_probability=None if highest is None else round(float(scores.probabilities[highest, index]), 6),
        files=[str(path) for path in done.files],
    )
