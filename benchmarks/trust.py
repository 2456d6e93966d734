"""The trust strip: how long it takes, and where its limits come from.

``python -m benchmarks.trust time --data DIR`` times the strip of three maps (Grad-CAM, integrated gradients of 33 points,
occlusion 32/16) of one test image a model: seconds until every check has a coarse verdict and until all are final, by
check, and as multiples of one forward pass.

``python -m benchmarks.trust limits --data DIR`` gives every check the maps of n test images, and the maps of *another*
image in their place, which know the network and the class but not the picture: what such a map reaches in one of
twenty cases is the limit between saying something and saying nothing.

``python -m benchmarks.trust impute --data DIR`` times the guessing of missing pixels against a sparse solver as used by
pytorch_grad_cam.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

import explainers
from benchmarks.networks import prepared as prepared_model
from benchmarks.networks import test_images
from explainers.passes import Passes
from explainers.quality import _imputation, _order, _ranks
from explainers.quality.masks import seen_of
from explainers.quality.strip import Again, checks, cost, evidence_of, strip, summary
from explainers.quality.types import Check, Evidence, Subject, Verdict
from explainers.reduce import reduce_channels
from explainers.runtime.model import PreparedModel
from explainers.types import Attribution
from models.context import RunContext
from models.preprocess import Prepared, prepare
from models.registry import discover
from models.training import recipes
from models.types import Image, Target

MODELS = ("chest-xray-14", "skin-lesion-7")
METHODS: dict[str, dict[str, int]] = {
    "grad-cam": {},
    "integrated-gradients": {"steps": 33},
    "occlusion": {"window": 32, "stride": 16},
}
app = typer.Typer(help=__doc__)
Data = Annotated[Path, typer.Option(help="Folder of the data sets.")]


def clock() -> float:
    """Seconds: of the processor for one thread, which other work on the machine does not lengthen; else of the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def leading(model: PreparedModel, image: Image) -> Target:
    """The class that a reader looks at first."""
    found = model.predict([image], RunContext())[0]
    activation = "softmax" if found.exclusive else "sigmoid"
    return Target(found.classes[found.leading], found.leading, activation=activation)


def explained(model: PreparedModel, passes: Passes, given: Prepared, target: Target) -> list[tuple[Attribution, Again]]:
    """The three maps, and how to make each again."""
    made: list[tuple[Attribution, Again]] = []
    for name, settings in METHODS.items():
        explainer = explainers.get(name)
        params = explainer.spec.resolve(settings)
        if "layer" in params:
            params["layer"] = model.default_layer

        def again(tensor: torch.Tensor, explainer=explainer, params=params) -> Attribution:  # type: ignore[no-untyped-def]
            other = Prepared(tensor, given.grid_to_image, given.image_shape, given.black, given.mean)
            return explainer.explain(passes, other, [target], params, 0)[0]

        made.append((again(given.tensor), again))
    return made


@app.command(name="time")
def take_time(
    data: Data,
    threads: int = 1,
    runs: Annotated[int, typer.Option(help="Of which the fastest counts.")] = 3,
) -> None:
    torch.set_num_threads(threads)
    discover(recipes)
    for name in MODELS:
        model = prepared_model(name)
        model.expect_many()  # as an engine does before it checks maps
        image = test_images(name, data, 5)[2]
        given, target = prepare(image, model.card.input.spec), leading(model, image)
        best: dict[str, float] = {}
        for _ in range(runs):
            found = _timed(model, given, target)
            if not best or found["all final"] < best["all final"]:
                best = found
        typer.echo(f"\n{name}, {target.name}, {threads} thread(s); one forward {1000 * best['forward']:.1f} ms\n")
        typer.echo("| part of the strip | s | forwards |\n|---|---|---|")
        for part, seconds in best.items():
            if part != "forward":
                typer.echo(f"| {part} | {seconds:.2f} | {seconds / best['forward']:.0f} |")
        with model.passes(RunContext()) as passes:
            made = explained(model, passes, given, target)
            subject = Subject(given, target, passes, seen=seen_of(given))
            evidence = evidence_of(subject, [one for one, _ in made], [again for _, again in made])
            typer.echo(f"\ncounted beforehand: {cost(evidence, _chosen())} inputs\n")
            last: dict[tuple[int, str], Verdict] = {}
            for index, verdict in strip(evidence, _chosen()):
                last[index, verdict.check] = verdict
            for index, (attribution, _) in enumerate(made):
                line = summary(one for (at, _), one in last.items() if at == index)
                typer.echo(f"{attribution.title}: {line.level}: {line.sentence}")


OURS = ("completeness", "agreement", "stability", "faithfulness", "road")


def _chosen() -> list[Check]:
    return [check for check in checks() if check.spec.id in OURS]


def _timed(model: PreparedModel, given: Prepared, target: Target) -> dict[str, float]:
    """Seconds: one forward in a batch, the maps, all checks coarse and final, and each check by itself."""
    found: dict[str, float] = {}
    model.forget()
    with model.passes(RunContext()) as passes:
        batch = given.tensor.repeat(passes.windows, 1, 1, 1)
        forwards = []
        for _ in range(5):
            began = clock()
            passes.logits(batch)
            forwards.append((clock() - began) / len(batch))
        found["forward"] = statistics.median(forwards)
        began = clock()
        made = explained(model, passes, given, target)
        found["the three maps themselves"] = clock() - began
        evidence = evidence_of(
            Subject(given, target, passes, seen=seen_of(given)), [one for one, _ in made], [again for _, again in made]
        )
        chosen = _chosen()
        answered: set[tuple[int, str]] = set()
        by_check: dict[str, float] = defaultdict(float)
        began = before = clock()
        for index, verdict in strip(evidence, chosen):
            now = clock()
            by_check[verdict.check] += now - before
            before = now
            answered.add((index, verdict.check))
            if len(answered) == len(evidence) * len(chosen):
                found.setdefault("every check coarse", now - began)
        found["all final"] = clock() - began
    return found | {f"of it {name}": seconds for name, seconds in by_check.items()}


@app.command()
def limits(
    data: Data,
    images: Annotated[int, typer.Option(help="Test images a model.")] = 12,
    model: Annotated[str, typer.Option(help="Only this one.")] = "",
    check: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
) -> None:
    torch.set_num_threads(1)
    discover(recipes)
    chosen = [one for one in _chosen() if not check or one.spec.id in check]
    for name in [model] if model else MODELS:
        network = prepared_model(name)
        network.expect_many()
        own: dict[tuple[str, str], list[float]] = defaultdict(list)
        other: dict[tuple[str, str], list[float]] = defaultdict(list)
        with network.passes(RunContext()) as passes:
            subjects, maps = [], []
            for image in test_images(name, data, images):
                given, target = prepare(image, network.card.input.spec), leading(network, image)
                subjects.append(Subject(given, target, passes, seen=seen_of(given)))
                maps.append(explained(network, passes, given, target))
            for number, subject in enumerate(subjects):
                theirs = [one for one, _ in maps[(number + 1) % len(maps)]]
                for at, (made, again) in enumerate(maps[number]):
                    others = tuple(one for one, _ in maps[number] if one is not made)
                    for kept, attribution in ((own, made), (other, theirs[at])):
                        evidence = Evidence(subject, attribution, again, others)
                        for one in chosen:
                            if attribution is made or one.spec.id not in ("stability", "completeness"):
                                value = list(one.run(evidence))[-1].value
                                if value is not None:
                                    kept[one.spec.id, made.title].append(value)
                    like = _correlation(subject, made, theirs[at])
                    if like is not None:
                        other["stability", made.title].append(like)
        typer.echo(f"\n{name}, {images} test images, class that leads\n")
        typer.echo(
            "| check | method | own map: median (10 %, 90 %) | n | map of another image: median (5 %, 95 %) | n |"
        )
        typer.echo("|---|---|---|---|---|---|")
        for one in chosen:
            for kept in (own, other):
                kept[one.spec.id, "all methods"] = [
                    value for (checked, _), values in list(kept.items()) if checked == one.spec.id for value in values
                ]
        for key in sorted(own):
            typer.echo(f"| {key[0]} | {key[1]} | {_row(own[key], 10, 90)} | {_row(other[key], 5, 95)} |")


def _correlation(subject: Subject, first: Attribution, second: Attribution) -> float | None:
    blocks = _ranks.cells(subject)
    one, two = (_ranks.ranks(reduce_channels(made.values), blocks) for made in (first, second))
    return None if one is None or two is None else _ranks.correlation(one, two)


def _row(values: list[float], low: float, high: float) -> str:
    if not values:
        return "none | 0"
    ends = np.percentile(values, (50, low, high))
    return f"{ends[0]:.2f} ({ends[1]:.2f}, {ends[2]:.2f}) | {len(values)}"


@app.command()
def impute(data: Data, runs: int = 3) -> None:
    torch.set_num_threads(1)
    discover(recipes)
    typer.echo(
        "| input | share missing | ours, ms | pytorch_grad_cam, ms | largest difference |\n|---|---|---|---|---|"
    )
    theirs = NoisyLinearImputer(noise=0.0)
    for name in MODELS:
        spec = prepared_model(name).card.input.spec
        given = prepare(test_images(name, data, 3)[1], spec)
        values = given.tensor[0].numpy()
        blocks = _order.Blocks.cut(np.ones(given.grid_shape, dtype=bool), max(1, round(min(given.grid_shape) / 32)))
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            mask = blocks.first(blocks.random(0), np.array([share]))
            works = {
                "ours": partial(lambda mask, values: next(_imputation.imputed(values, mask)), mask, values),
                "theirs": partial(
                    lambda mask, values: theirs(torch.from_numpy(values), torch.from_numpy(1.0 - mask[0])).numpy(),
                    mask,
                    values,
                ),
            }
            seconds, found = {}, {}
            for key, work in works.items():
                times = []
                for _ in range(runs):
                    began = clock()
                    found[key] = work()
                    times.append(clock() - began)
                seconds[key] = min(times)
            difference = np.abs(found["ours"] - found["theirs"]).max()
            size = "x".join(map(str, values.shape))
            typer.echo(
                f"| {size} | {share} | {1000 * seconds['ours']:.1f} | {1000 * seconds['theirs']:.0f} | {difference:.1e} |"
            )


if __name__ == "__main__":
    app()
