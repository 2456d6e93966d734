"""``python -m dashboard quantify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import ModelOption, answer, app, meter, sentence, stop, warn
from models.errors import SightlineError


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
    prior: Annotated[Path | None, typer.Option(help="Earlier chest CT of the patient, to compare with.")] = None,
    prior_lesions: Annotated[
        Path | None, typer.Option(help="Mask of the lesions of the earlier CT, or of an earlier mask alone.")
    ] = None,
    prior_lungs: Annotated[Path | None, typer.Option(help="Mask of the lungs of the earlier CT.")] = None,
    model: ModelOption = "pneumonia-ct",
    connectivity: Annotated[int, typer.Option(help="Voxels that belong together: 6, 18 or 26 neighbours.")] = 26,
    minimum: Annotated[
        float | None, typer.Option(help="Smallest lesion in mm3; if not given, 0 for a mask, 100 for a model.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the registration.")] = 0,
) -> None:
    """Write volume, number, density and place of the lesions of a chest CT, what share of each lung they take, and what
    changed since an earlier one."""
    from dashboard.quantify.command import Files, answer_of, quantify_paths

    earlier = Files(prior, prior_lesions, prior_lungs)
    try:
        with meter("marking lesions") as show:
            done = quantify_paths(
                Files(scan, lesions, lungs),
                out,
                prior=earlier if earlier != Files() else None,
                model=model,
                connectivity=connectivity,
                minimum_mm3=minimum,
                seed=seed,
                show=show,
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    said = [*done.study.warnings, *([f"Not compared. {done.refused}"] if done.refused else [])]
    if done.followup is not None:
        said += [f"The prior: {warning}" for warning in done.followup.prior.warnings]
        said += [*done.followup.warnings, *([done.followup.reason] if done.followup.reason else [])]
    warn(said)
    answer(**answer_of(done, out))
