"""``python -m dashboard abcd``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import ModelOption, answer, app, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def abcd(
    picture: Annotated[Path, typer.Argument(help="Dermoscopic picture of one lesion.")],
    out: Annotated[Path, typer.Option(help="Folder for abcd.json and outline.png.")],
    outline: Annotated[
        Path | None, typer.Option(help="Mask picture, bright in the lesion; the model outlines it if not given.")
    ] = None,
    model: ModelOption = "skin-lesion-outline",
) -> None:
    """Write asymmetry, border, colours and diameter of a skin lesion: measurements, never a diagnosis."""
    from dashboard.quantify.abcd_command import JSON_FILE, abcd_path

    try:
        done = abcd_path(picture, outline, model, out)
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    warn(done.facts["warnings"])
    values = {name: one["value"] for name, one in done.facts["measures"].items()}
    answer(**values, diameter_unit=done.facts["measures"]["diameter"]["unit"], abcd=str(out / JSON_FILE))
