"""``python -m dashboard prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import SliceOption, answer, app, meter, sentence, stop, warn
from models.errors import SightlineError
from models.types import Modality


@app.command()
def prepare(
    image: Annotated[Path, typer.Argument(help="Scan: NIfTI, DICOM folder or zip, or a picture.")],
    out: Annotated[Path, typer.Option(help="Folder for prepared.nii.gz, trace.json, masks and pictures.")],
    steps: Annotated[
        str, typer.Option(help="Step ids in their order, separated by commas; those of the preset if not given.")
    ] = "",
    preset: Annotated[str, typer.Option(help="brain-mr, chest-ct or model; what suits the image if not given.")] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as bias-field.shrink=2; may be repeated.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model id or folder: its answer with and without each step, and its own input steps.")
    ] = "",
    explain: Annotated[
        str, typer.Option(help="Method whose map of the prepared slice is laid back onto the scan.")
    ] = "",
    slice_index: SliceOption = None,
    reference: Annotated[Path | None, typer.Option(help="Volume that the step `register` moves the scan to.")] = None,
    modality: Annotated[Modality | None, typer.Option(help="What made the scan, where its file does not say.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the registration and of the explanation.")] = 0,
) -> None:
    """Prepare a scan step by step, with a verdict on each step and what it changed in a model's answer."""
    from dashboard.preparation.command import answer_of, parse_settings, prepare_path

    try:
        with meter("preparing") as show:
            done = prepare_path(
                image,
                out,
                [name.strip() for name in steps.split(",") if name.strip()],
                preset,
                parse_settings(setting or []),
                model,
                explain,
                slice_index,
                reference,
                modality,
                seed,
                show,
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    warn(done.notes)
    odd = (record for record in done.outcome.records if record.verdict.level != "pass")
    warn(f"{record.title}: {record.verdict.sentence}" for record in odd)
    answer(**answer_of(done, out))
