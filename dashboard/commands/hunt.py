"""``python -m dashboard hunt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboard.commands.shared import answer, app, meter, sentence, stop, warn
from models.errors import SightlineError


@app.command()
def hunt(
    model: Annotated[str, typer.Argument(help="Model id, or a model folder of your own.")],
    data: Annotated[Path, typer.Option(help="Folder of the images, named like the cases of the table.")],
    out: Annotated[Path, typer.Option(help="Folder for hunt.json, its parts and pictures of clusters.")],
    table: Annotated[
        Path | None,
        typer.Option(help="Scores and labels (.csv, .tsv, .parquet); the model's own test cases if not given."),
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Of weights, shortcuts, trust, robustness, drift and neighbours, separated by commas.")
    ] = "weights,shortcuts,trust,robustness,drift,neighbours",
    classes: Annotated[
        str, typer.Option(help="Classes whose shortcuts are hunted, separated by commas; all if not given.")
    ] = "",
    most: Annotated[int, typer.Option(min=10, help="Cases a part, or a class, at most.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn at random.")] = 0,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Store weights, trust, robustness and drift beside the card, in place of what lies there; without --table the "
            "nearest cases too. hunt.json and neighbours.npz hold case ids.",
        ),
    ] = False,
) -> None:
    """Hunt for failures: shortcuts, maps that cannot be believed, fragility, maps that move from group to group.

    Maps made before are found in the cache.
    """
    from dashboard.hunting.command import hunt_model

    def listed(words: str) -> list[str]:
        return [word.strip() for word in words.split(",") if word.strip()]

    try:
        with meter("hunting") as show:
            done = hunt_model(
                model,
                data,
                out,
                table,
                listed(parts),
                listed(classes),
                most,
                seed,
                keep,
                lambda part, at, of: show(at, of),
            )
    except (SightlineError, OSError, RuntimeError) as error:
        raise stop(sentence(error)) from None
    warn(f"{part}: {why}" for part, why in done.failures.items())
    answer(cases=done.cases, suspicions=done.suspicions, files=[str(path) for path in done.files])
