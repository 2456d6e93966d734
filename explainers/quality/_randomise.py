"""Maps of copies of a network with other weights, compared with its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.passes import Passes
from explainers.quality._bootstrap import Estimate, estimate, replicate_means
from explainers.quality._randomised import UPPER, RandomisationResult, StageSimilarity
from explainers.quality._reinit import Stage, redraw, stages
from explainers.quality._similarity import View, ranks, shown, spearman, ssim
from explainers.reduce import reduce_channels
from explainers.registry import EXPLAINERS
from explainers.types import Explainer, ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.errors import ExplainError
from models.handle import ModelHandle
from models.preprocess import Prepared
from models.types import FloatArray, Image, Target

PAIRS = 50
LEAST_IMAGES = 5
CHEAP = 12  # inputs a map costs, gradients counted threefold; dearer methods are measured at fewer stages
VIEWS: tuple[View, ...] = ("absolute", "signed")


# Cheap settings of dear methods, and what is cheap enough to be measured where nobody says which.
CHEAP_SETTINGS: Mapping[str, Mapping[str, ParamValue]] = {
    "integrated-gradients": {"steps": 17, "rule": "until converged"},
    "gradient-shap": {"samples": 8},
    "smooth-grad": {"samples": 8},
}
USUAL = (
    "eigen-cam", "grad-cam", "grad-cam-plus-plus", "layer-cam", "saliency", "integrated-gradients", "occlusion",
)  # fmt: skip


def usual(
    card: ModelCard, layer: str = "", wanted: Sequence[str] | None = None
) -> list[tuple[Explainer, dict[str, ParamValue]]]:
    """Methods with cheap settings for :func:`measure`; those of ``USUAL`` if not ``wanted`` otherwise."""
    found: list[tuple[Explainer, dict[str, ParamValue]]] = []
    for explainer in EXPLAINERS:
        if explainer.spec.id not in (wanted or USUAL):
            continue
        given = dict(CHEAP_SETTINGS.get(explainer.spec.id, {}))
        if explainer.spec.id == "occlusion":  # sixteen windows, or a few more
            side = min(card.input.height, card.input.width) // 4
            given = {"window": side, "stride": side}
        params = explainer.spec.resolve(given)
        if "layer" in params:
            params["layer"] = layer or card.target_layers[0]
        found.append((explainer, params))
    return found


@dataclass(eq=False)
class _Method:
    """One method on the way: its true maps, and what was found so far."""

    explainer: Explainer
    params: Mapping[str, ParamValue]
    maps: FloatArray
    looks: dict[View, NDArray[np.float64]] = field(default_factory=dict)
    ordered: dict[View, NDArray[np.float64]] = field(default_factory=dict)
    pairs: dict[View, NDArray[np.float64]] = field(default_factory=dict)
    full: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    similarities: list[StageSimilarity] = field(default_factory=list)

    def keep(self, seed: int) -> None:
        """The true maps in the forms that the others are compared in, and how alike pairs of them are."""
        for view in VIEWS:
            self.looks[view], self.ordered[view] = shown(self.maps, view), ranks(self.maps, view)
            self.pairs[view] = _pairs(self.looks[view], view, seed)

    def compare(self, maps: FloatArray) -> NDArray[np.float64]:
        """(4, n): structural similarity and rank correlation with the true maps, of each view."""
        found = [ssim(self.looks[view], shown(maps, view), _extent(view)) for view in VIEWS]
        found += [spearman(self.ordered[view], ranks(maps, view)) for view in VIEWS]
        return np.stack(found)


def _extent(view: View) -> float:
    return 1.0 if view == "absolute" else 2.0


def measure(
    handle: ModelHandle,
    images: Sequence[Image],
    methods: Sequence[tuple[Explainer, Mapping[str, ParamValue]]],
    ctx: RunContext,
    *,
    seed: int = 0,
    copies: int = 2,
) -> Iterator[Mapping[str, RandomisationResult]]:
    """Compares the maps of copies with other weights with the network's own, for the class that leads on each image.

    Methods whose map costs more than twelve inputs are measured at three stages of the cascade and at no stage alone.

    Args:
        images: planes; their inputs and one map a method and image are held in memory.
        methods: with resolved parameters, layers filled in.
        ctx: cancels; ticks at every forward.
        copies: fully random copies, over which similarities are averaged image by image.

    Yields:
        Results by method, after every stage those so far; the last are complete.

    Raises:
        ExplainError: fewer than five images.
        Cancelled: the work was stopped.
    """
    if len(images) < LEAST_IMAGES:
        raise ExplainError(f"Randomisation needs {LEAST_IMAGES} images or more, got {len(images)}; give more.")
    prepared = [handle.prepare(image) for image in images]
    leading = [prediction.leading for prediction in handle.predict(images, ctx)]
    targets = [handle.card.target(handle.card.classes[index]) for index in leading]
    batch = torch.cat([one.tensor for one in prepared[:16]])
    known = []
    for explainer, params in methods:
        known.append(_Method(explainer, params, _maps(handle, explainer, params, prepared, targets, ctx)))
        known[-1].keep(seed)
    every = stages(handle.copied(), prepared[0].tensor)
    for label, chosen, mode, draws in _plan(every, copies):
        due = [one for one in known if _due(one, prepared[0], every, label, mode)]
        found: dict[int, list[NDArray[np.float64]]] = {}
        for draw in range(draws if due else 0):
            other = _redrawn(handle, chosen, batch, seed + draw)
            for number, one in enumerate(due):
                maps = _maps(other, one.explainer, one.params, prepared, targets, ctx)
                found.setdefault(number, []).append(one.compare(maps))
        for number, parts in found.items():
            values = np.mean(parts, axis=0)
            due[number].similarities.append(_similarity(label, mode, len(chosen) / len(every), values, seed))
            if mode == "cascading" and label == every[-1].name:
                due[number].full = values[0]
        if due:
            yield {one.explainer.spec.id: _result(one, seed) for one in known}


def _plan(
    every: Sequence[Stage], copies: int
) -> Iterator[tuple[str, Sequence[Stage], Literal["cascading", "independent"], int]]:
    """Name, stages drawn anew, mode and number of copies: full randomisation first, as it decides."""
    yield every[-1].name, every, "cascading", copies
    for count in range(1, len(every)):
        yield every[count - 1].name, every[:count], "cascading", 1
    for stage in every[1:]:  # the first alone is the first of the cascade
        yield stage.name, (stage,), "independent", 1


def _due(one: _Method, prepared: Prepared, every: Sequence[Stage], label: str, mode: str) -> bool:
    spec = one.explainer.spec
    cost = spec.cost(one.params, prepared.grid_shape) * (3 if spec.family == "gradient" else 1)
    return cost <= CHEAP or (mode == "cascading" and label in _few(every))


def _few(every: Sequence[Stage]) -> set[str]:
    """The stages that verdicts rest on: the first, the end of the upper third, the last."""
    third = next(number for number in range(1, len(every) + 1) if number / len(every) >= UPPER)
    return {every[number].name for number in (0, third - 1, len(every) - 1)}


def _redrawn(handle: ModelHandle, chosen: Sequence[Stage], batch: torch.Tensor, seed: int) -> ModelHandle:
    module = handle.copied(lambda own: redraw(copy.deepcopy(own), chosen, batch, seed))
    return ModelHandle(handle.card, module, str(handle.device))


def _maps(
    handle: ModelHandle,
    explainer: Explainer,
    params: Mapping[str, ParamValue],
    prepared: Sequence[Prepared],
    targets: Sequence[Target],
    ctx: RunContext,
) -> FloatArray:
    """(n, H, W) float32, channels summed."""
    found = []
    with handle.exclusive(ctx) as module:
        passes = Passes(module, ctx)
        for one, target in zip(prepared, targets, strict=True):
            (attribution,) = explainer.explain(passes, one, [target], params, 0)
            found.append(reduce_channels(attribution.values))
    return np.stack(found)


def _similarity(
    label: str, mode: Literal["cascading", "independent"], depth: float, values: NDArray[np.float64], seed: int
) -> StageSimilarity:
    parts = [estimate(row, seed=seed) for row in values]
    return StageSimilarity(
        stage=label,
        mode=mode,
        depth=depth,
        ssim=dict(zip(VIEWS, parts[:2], strict=True)),
        rank=dict(zip(VIEWS, parts[2:], strict=True)),
    )


def _result(one: _Method, seed: int) -> RandomisationResult:
    pairs = one.pairs
    margin = Estimate(mean=None)
    if len(one.full):
        reference = replicate_means(pairs["absolute"], seed=seed)
        spread = reference - replicate_means(one.full, seed=seed + 1)
        low, high = np.percentile(spread, (2.5, 97.5))
        middle = float(pairs["absolute"].mean() - one.full.mean())
        margin = Estimate(mean=middle, low=float(low), high=float(high), n=len(one.full), groups=len(one.full))
    cascade = sorted((stage for stage in one.similarities if stage.mode == "cascading"), key=lambda stage: stage.depth)
    alone = [stage for stage in one.similarities if stage.mode == "independent"]
    return RandomisationResult(
        method=one.explainer.spec.id,
        params=dict(one.params),
        pairs={view: estimate(values, seed=seed) for view, values in pairs.items()},
        margin=margin,
        similarities=(*cascade, *alone),
    )


def _pairs(looks: NDArray[np.float64], view: View, seed: int) -> NDArray[np.float64]:
    """(PAIRS,) similarities of random pairs of different images; all pairs where there are fewer."""
    first, second = np.triu_indices(len(looks), 1)
    count = min(PAIRS, len(first))
    drawn = np.random.default_rng(seed).choice(len(first), count, replace=False)
    return ssim(looks[first[drawn]], looks[second[drawn]], _extent(view))
