"""One method on the slices of a volume, one after the other; each result is the one that the Case page would ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.volumes.scores import card_of, no_scores, score_slices
from dashboard.volumes.types import SliceScores, VolumeMap, VolumeRequest, VolumeResult, mass_by_slice, strength
from explainers import get
from explainers.reduce import reduce_channels
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.types import FloatArray, Image

MOST_VALUES = 300 * 224 * 224  # of a map, 60 MB
_SOON = 3  # slices after each of which the map is shown at first
_REDRAWN = 8  # times that it is shown on the way from there
Show = Callable[[VolumeResult], None]


@dataclass
class Focus:
    """The slice that the reader looks at: it is explained next. Written by any thread."""

    at: int = 0


def steps_needed(image: Image, card: ModelCard, slices: int | None = None) -> int:
    """Every how many slices a map must be made so that it fits in memory; 1 where all do."""
    return -(-(slices or image.depth) // _most_slices(card))


def check_size(slices: range, card: ModelCard) -> None:
    """Raises DataError where a map of so many slices does not fit in memory, with how many do."""
    most = _most_slices(card)
    if len(slices) > most:
        step = -(-len(slices) // most) * slices.step
        raise DataError(
            f"A map of {len(slices)} slices takes too much memory; {most} fit: choose a part of the volume, or one slice in"
            f" {step}."
        )


def _most_slices(card: ModelCard) -> int:
    return max(1, MOST_VALUES // (card.input.height * card.input.width))


def explain_slices(
    desk: Desk,
    request: VolumeRequest,
    owner: str,
    ctx: RunContext,
    show: Show = lambda _: None,
    focus: Focus | None = None,
    scores: SliceScores | None = None,
) -> VolumeResult:
    """Scores of all slices and maps of those asked for: the slice looked at first, then the highest scores, then the rest.

    Args:
        show: called with results that are not complete yet.
        scores: of the volume, where they are known.

    Raises:
        SightlineError: the model cannot read the volume, the method not explain the model, or the map is too large.
        Cancelled: the user stopped the work.
    """
    image, card, focus = request.image, card_of(desk, request.model_id), focus or Focus(request.at)
    check_size(request.slices, card)
    cost = _cost(request, card)
    ctx.total = image.depth + cost * len(request.slices)
    made = _Map(request)

    def explain(index: int) -> None:
        plane = image.slice(index)
        one = ExplainRequest(request.model_id, plane, request.method, request.target, request.params, request.seed)
        made.add(index, desk.in_turn(one, owner, ctx))
        ctx.tick(cost)

    explain(min(request.slices, key=lambda index: abs(index - focus.at)))
    show(made.result(scores or no_scores(desk, request.model_id, image.depth)))
    if scores is None:
        scores = score_slices(desk, request.model_id, image, owner, ctx, lambda found: show(made.result(found)))
    else:
        ctx.tick(image.depth)
    order = sorted(request.slices, key=lambda index: -float(scores.probabilities[index, request.target.index]))
    while waiting := [index for index in order if index not in made.explained]:
        explain(focus.at if focus.at in waiting else waiting[0])
        show(made.result(scores))
    return made.result(scores)


def _cost(request: VolumeRequest, card: ModelCard) -> int:
    spec = get(request.method).spec
    return max(1, spec.cost(spec.resolve(request.params), (card.input.height, card.input.width)))


class _Map:
    """The map of a volume as its slices come in."""

    def __init__(self, request: VolumeRequest) -> None:
        self._request = request
        self._first: Explanation | None = None
        self._values: FloatArray | None = None
        self._strength = np.full(len(request.slices), np.nan)
        self._shown: tuple[int, VolumeMap] | None = None
        self.explained: set[int] = set()

    def add(self, index: int, explanation: Explanation) -> None:
        values = reduce_channels(explanation.attribution.values)
        number = self._request.slices.index(index)
        if self._values is None or self._first is None:
            self._first = explanation
            self._values = np.full((len(self._request.slices), *values.shape), np.nan, dtype=np.float32)
        self._values[number] = values
        self._strength[number] = strength(values, explanation.grid_to_image, explanation.image_shape)
        self.explained.add(index)

    def result(self, scores: SliceScores) -> VolumeResult:
        slices, done = self._request.slices, len(self.explained)
        mass = np.full(self._request.image.depth, np.nan)
        mass[slices.start : slices.stop : slices.step] = self._strength
        return VolumeResult(scores, self._map(), mass_by_slice(mass), done, len(slices), done == len(slices))

    def _map(self) -> VolumeMap | None:
        """The map as it is now, or as it was a while ago: a copy takes time to make and more to draw."""
        if self._values is None or self._first is None:
            return None
        slices, done = self._request.slices, len(self.explained)
        before = 0 if self._shown is None else self._shown[0]
        if self._shown is None or (
            done != before and (done <= _SOON or done == len(slices) or done >= before + len(slices) / _REDRAWN)
        ):
            attribution = self._first.attribution
            to_image = np.eye(4)
            to_image[np.ix_([0, 1, 3], [0, 1, 3])] = self._first.grid_to_image
            to_image[2, 2:] = slices.step, slices.start
            known = np.isfinite(self._strength)
            channels = attribution.values.shape[0]
            facts = {"slices": f"{done} of {len(slices)}"}
            if channels > 1:
                facts["channels"] = f"{channels} summed"
            made = VolumeMap(
                attribution.title,
                self._values.copy(),
                to_image,
                known,
                attribution.signed,
                attribution.unit,
                facts,
                attribution.params,
                self._first.provenance,
            )
            self._shown = done, made
        return self._shown[1]
