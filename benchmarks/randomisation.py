"""Maps of the shipped models with random weights: ``python -m benchmarks.randomisation [MODEL ...] --data DIR [--write]``.

Test images of each model's data set, evenly spread; all registered methods, the dear ones with cheap settings and at three
stages. ``--write`` puts the results into ``models/zoo/<id>/evaluation/randomisation.json``, where the check finds them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.networks import shipped_cards, test_images
from explainers.quality.randomisation import FILE, RandomisationResult, StoredRandomisation, measure, stored, usual
from models.context import RunContext
from models.handle import ModelHandle
from models.registry import discover
from models.training import recipes


def row(result: RandomisationResult) -> str:
    full = result.cascade[-1]
    return (
        f"| {result.method} | {result.level} | {result.margin.words} | {full.ssim['absolute'].words} |"
        f" {result.pairs['absolute'].words} | {full.ssim['signed'].words} | {result.pairs['signed'].words} |"
        f" {full.rank['absolute'].words} | {full.rank['signed'].words} |"
    )


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all shipped models if not given.")] = None,
    images: Annotated[int, typer.Option(help="Test images a model.")] = 20,
    copies: Annotated[int, typer.Option(help="Fully random copies.")] = 2,
    layer: Annotated[str, typer.Option(help="Target layer of CAMs; the card's first if not given.")] = "",
    method: Annotated[list[str] | None, typer.Option(help="Only these methods, added to what is stored.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the results with the models.")] = False,
) -> None:
    torch.set_num_threads(1)
    discover(recipes)
    for name in models or sorted(shipped_cards()):
        handle = ModelHandle.load(shipped_cards()[name])
        given = test_images(name, data, images)
        began = time.process_time()
        results: dict[str, RandomisationResult] = {}
        for found in measure(handle, given, usual(handle.card, layer, method), RunContext(), copies=copies):
            results = dict(found)
        typer.echo(f"\n{name}: {len(given)} images, {time.process_time() - began:.0f} s of one thread\n")
        typer.echo(
            "| method | verdict | margin | SSIM, random weights | SSIM, pairs | signed | pairs | rank, absolute | signed |"
        )
        typer.echo("|---|---|---|---|---|---|---|---|---|")
        for result in results.values():
            typer.echo(row(result))
        if write:
            source = f"{len(given)} images of the test part, evenly spread"
            made = StoredRandomisation(
                model=name,
                weights_sha256=handle.card.weights.sha256,
                images=len(given),
                source=source,
                copies=copies,
                seed=0,
                methods=(dict(stored(handle.card)) if method else {}) | results,
            )
            path = handle.card.folder / FILE
            path.write_text(json.dumps(json.loads(made.model_dump_json()), indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
