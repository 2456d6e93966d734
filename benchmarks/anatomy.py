"""Parts of the body found on test images, and how strongly maps mark what lies beside the patient.

``python -m benchmarks.anatomy [MODEL ...] --data DIR``: share of images on which each part is found, and of each method the
ratio that ``explainers/quality/anatomy.py`` judges by: its median, and the share of images above 1 and 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import explainers
from benchmarks.networks import shipped_cards, test_images
from dashboard.anatomy import parts_of
from explainers.quality.anatomy import ASIDE, LEAST_AREA, level_of, share_of
from explainers.quality.masks import seen_of, to_grid
from explainers.quality.randomisation import CHEAP_SETTINGS
from explainers.reduce import marked, reduce_channels
from explainers.runtime.model import PreparedModel
from models.context import RunContext
from models.handle import ModelHandle
from models.registry import discover
from models.training import recipes
from models.training.pictures import read
from models.types import Image, Modality

METHODS = ("grad-cam", "integrated-gradients", "saliency")
MODELS = ("brain-tumor-mri", "chest-xray-14", "lung-cancer-ct", "pneumonia-ct", "skin-lesion-7")


def films(data: Path, count: int) -> list[Image]:
    """Test films at 512 px, evenly spread."""
    files = sorted((data / "nih_cxr14" / "images_512").glob("*.jpg"))
    chosen = np.unique(np.linspace(0, len(files) - 1, count).round().astype(int))
    return [read(files[index], Modality.XRAY) for index in chosen]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all but the nodule model if not given.")] = None,
    images: Annotated[int, typer.Option(help="Images a model.")] = 60,
) -> None:
    torch.set_num_threads(1)
    discover(recipes)
    for name in models or MODELS:
        model = PreparedModel(ModelHandle.load(shipped_cards()[name]))
        given = films(data, images) if name == "chest-xray-14" else test_images(name, data, images)
        parts = [parts_of(image) for image in given]
        found = sorted({part for one in parts for part in one.masks})
        counts = ", ".join(f"{part} {sum(part in one.masks for one in parts)}" for part in found)
        typer.echo(f"\n{name}: {len(given)} images; parts found on: {counts}\n")
        typer.echo(
            "| method | images | median | above 1 | above 2 | ok | weak | fails |\n|---|---|---|---|---|---|---|---|"
        )
        for method in METHODS:
            explainer = explainers.get(method)
            params = explainer.spec.resolve(CHEAP_SETTINGS.get(method, {}))
            if "layer" in params:
                params["layer"] = model.default_layer
            ratios, levels = [], []
            for image, one in zip(given, parts, strict=True):
                prepared = model.exact.prepare(image)
                (prediction,) = model.predict([image], RunContext())
                target = model.card.target(model.card.classes[prediction.leading])
                with model.passes(RunContext()) as passes:
                    (made,) = explainer.explain(passes, prepared, [target], params, 0)
                seen = seen_of(prepared)
                beside = [to_grid(one.masks[part], prepared) for part in ASIDE if part in one.masks]
                weight = marked(reduce_channels(made.values), seen)
                if not beside or weight is None:
                    continue
                share = share_of(weight, np.logical_or.reduce(beside), seen)
                if share.area >= LEAST_AREA:
                    ratios.append(share.ratio)
                    levels.append(level_of(share))
            values = np.array(ratios)
            typer.echo(
                f"| {method} | {len(values)} | {np.median(values):.2f} | {(values > 1).mean():.0%} | {(values > 2).mean():.0%} |"
                f" {' | '.join(str(levels.count(level)) for level in ('ok', 'weak', 'fails'))} |"
            )
        model.close()


if __name__ == "__main__":
    typer.run(main)
