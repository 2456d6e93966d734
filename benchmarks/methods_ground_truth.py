"""All methods on images with a known place: ``python -m benchmarks.methods_ground_truth [MODEL ...] --data DIR [--write]``.

Masks of HAM10000, LIDC-IDRI and COVID-SemiSeg, boxes of NIH ChestX-ray14, phantoms where a model has nothing else. The
threshold of the tuned overlap is that of the other half of the patients. ``--write`` puts the results into
``models/zoo/<id>/evaluation/methods.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import explainers
from benchmarks._ground_truth import SOURCES, Known, Source
from benchmarks.networks import shipped_cards
from explainers.quality.localisation import Localised, Located, localise_set, tune
from explainers.quality.masks import seen_of, to_grid
from explainers.quality.method_benchmark import FILE, GroundTruthSet, MethodRow, StoredMethods
from explainers.quality.randomisation import CHEAP_SETTINGS
from explainers.reduce import reduce_channels
from explainers.runtime.model import PreparedModel
from explainers.types import Explainer, ParamValue
from models.context import RunContext
from models.handle import ModelHandle
from models.registry import discover
from models.training import recipes

FINE = {**CHEAP_SETTINGS, "occlusion": {"window": 32, "stride": 16}}


def measured(
    model: PreparedModel, cases: Sequence[Known], explainer: Explainer, params: dict[str, ParamValue]
) -> MethodRow:
    found: list[Located] = []
    times: list[float] = []
    for case in cases:
        prepared = model.exact.prepare(case.image)
        target = model.card.target(case.target)
        (prediction,) = model.predict([case.image], RunContext())
        model.forget()
        began = time.process_time()
        with model.passes(RunContext()) as passes:
            (made,) = explainer.explain(passes, prepared, [target], params, 0)
        times.append(time.process_time() - began)
        mask, seen = to_grid(case.mask, prepared), seen_of(prepared)
        if (mask & seen).any() and not (mask | ~seen).all():
            called = target.index in prediction.flagged
            found.append(Located(reduce_channels(made.values), mask, seen, case.group, called))
    halves = np.array([int(one) for one in np.unique([str(one.group) for one in found], return_inverse=True)[1]]) % 2
    cases_of = [[one for one, half in zip(found, halves, strict=True) if half == number] for number in (0, 1)]
    tuned = [tune(cases_of[1]), tune(cases_of[0])]
    found = [replace(one, tuned=tuned[half]) for one, half in zip(found, halves, strict=True)]
    shape = (model.card.input.height, model.card.input.width)
    cost = explainer.spec.cost(params, shape) * (3 if explainer.spec.family == "gradient" else 1)
    return MethodRow(
        method=explainer.spec.id,
        title=explainer.spec.title,
        params=params,
        seconds=float(np.median(times)),
        passes=cost,
        result=localise_set(found),
    )


def of_source(model: PreparedModel, source: Source, data: Path, images: int) -> GroundTruthSet:
    cases = list(source.cases(data, images))
    rows = {}
    for explainer in explainers.EXPLAINERS:
        params = explainer.spec.resolve(FINE.get(explainer.spec.id, {}))
        if "layer" in params:
            params["layer"] = model.default_layer
        rows[explainer.spec.id] = measured(model, cases, explainer, params)
        typer.echo(f"{explainer.spec.id} done", err=True)
    first = next(iter(rows.values())).result
    called = first.true_positives.measures["base"].n
    return GroundTruthSet(
        name=source.name, cases=first.everything.measures["base"].n, called=called, note=source.note, methods=rows
    )


def line(title: str, found: Localised, seconds: str) -> str:
    parts = (found.measures[name] for name in ("pointing", "iou_otsu", "iou_tuned", "energy", "auprc"))
    return (
        f"| {title} | {found.level} | {' | '.join(part.words for part in parts)} | {found.margin.words} | {seconds} |"
    )


def table(found: GroundTruthSet) -> str:
    head = (
        "method",
        "verdict",
        "pointing",
        "IoU, Otsu",
        "IoU, tuned",
        "energy",
        "AUPRC",
        "margin over controls",
        "s a map",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for part in ("everything", "true_positives"):
        for row in found.methods.values():
            title = row.title + ("" if part == "everything" else ", called")
            lines.append(line(title, getattr(row.result, part), f"{row.seconds:.3f}"))
    one = next(iter(found.methods.values())).result.everything
    for name, control in (("centre blob", one.blob), ("by chance", {"auprc": one.measures["base"]})):
        words = [
            control[key].words if key in control else ""
            for key in ("pointing", "iou_otsu", "iou_tuned", "energy", "auprc")
        ]
        lines.append(f"| {name} | | {' | '.join(words)} | | |")
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all with a known place if not given.")] = None,
    images: Annotated[int, typer.Option(help="Images a set.")] = 60,
    write: Annotated[bool, typer.Option("--write", help="Store the results with the models.")] = False,
) -> None:
    torch.set_num_threads(1)
    discover(recipes)
    for name in models or sorted(SOURCES):
        model = PreparedModel(ModelHandle.load(shipped_cards()[name]))
        sets = {}
        for source in SOURCES[name]:
            sets[source.id] = of_source(model, source, data, images if source.id != "phantoms" else min(images, 24))
            found = sets[source.id]
            typer.echo(f"\n{name}: {found.name}, {found.cases} images, {found.called} called\n\n{table(found)}\n")
        model.close()
        if write:
            made = StoredMethods(model=name, weights_sha256=model.card.weights.sha256, seed=0, sets=sets)
            text = json.dumps(json.loads(made.model_dump_json()), indent=1)
            (model.card.folder / FILE).write_text(f"{text}\n")


if __name__ == "__main__":
    typer.run(main)
