"""``python -m dashboard nodule``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import answer, app, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def nodule(
    scan: Annotated[Path, typer.Argument(help="CT with the nodule: NIfTI, DICOM folder or zip.")],
    out: Annotated[Path, typer.Option(help="Folder for nodule.json and nodule.nii.gz.")],
    mask: Annotated[
        Path | None, typer.Option(help="Mask of the nodule; it is outlined at a point if not given.")
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            help="Point in the nodule, COLUMN,ROW,SLICE from 0 in the scan as Sightline shows it (turned to axial, slices to "
            "the head), or X,Y,Zmm: patient millimetres (LPS); the middle of the scan if not given."
        ),
    ] = "",
) -> None:
    """Write volume, diameters and density of a lung nodule."""
    from dashboard.quantify.nodule_command import JSON_FILE, nodule_path

    try:
        done = nodule_path(scan, mask, at, out)
    except (SightlineError, OSError) as error:
        raise stop(sentence(error)) from None
    warn(done.facts["warnings"])
    names = ("volume_ml", "longest_axial_mm", "perpendicular_mm", "mean_diameter_mm", "mean_hu", "solid_share")
    answer(**{name: done.facts[name] for name in names}, nodule=str(out / JSON_FILE))
