"""``python -m dashboard trust``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import ModelOption, SliceOption, answer, app, meter, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def trust(
    image: Annotated[Path, typer.Argument(help="Image file, series folder or zip.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="Folder for trust.json and the maps.")],
    methods: Annotated[
        str, typer.Option(help="Method ids, separated by commas.")
    ] = "grad-cam,integrated-gradients,occlusion",
    target: Annotated[str | None, typer.Option(help="Class to explain; the leading one if not given.")] = None,
    slice_index: SliceOption = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image file whose non-zero pixels are where the finding is known to be.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn at random.")] = 0,
) -> None:
    """Explain one image by several methods and check each map: may it be believed?

    Called again, it finds what it had done in the cache.
    """
    from dashboard.trust.command import trust_image

    names = [name.strip() for name in methods.split(",") if name.strip()]
    try:
        with meter("checking the maps") as show:
            done = trust_image(image, model, names, target, out, slice_index, mask, seed, show)
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    warn(f"{method}: {why}" for method, why in done.failures.items())
    answer(target=done.target, levels=done.levels, files=[str(path) for path in done.files])
