"""``python -m models.training RECIPE --data DIR --out DIR``: train one of the shipped systems again."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer


def main(
    recipe: Annotated[str, typer.Argument(help="Recipe, e.g. chest-xray-14.")],
    data: Annotated[Path, typer.Option(help="Folder with the data set.")],
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = Path("runs"),
    release: Annotated[
        Path | None, typer.Option(help="Do not train; make this model folder from the kept weights.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda:0 ...")] = "cpu",
) -> None:
    """Train a recipe and keep its best weights."""
    module = importlib.import_module(f"models.training.{recipe.replace('-', '_')}")
    if release is None:
        module.run(data, out / recipe, device)
    else:
        module.release(data, out / recipe, release)


if __name__ == "__main__":
    typer.run(main)
