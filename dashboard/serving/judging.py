"""The trust checks of several maps of one picture, run on a prepared network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from dashboard.serving.types import ExplainRequest, JudgeRequest, Verdicts
from explainers import EXPLAINERS
from explainers.passes import Passes
from explainers.quality.masks import all_to_grid, seen_of
from explainers.quality.strip import checks, cost, evidence_of, strip
from explainers.quality.types import Evidence, Subject, Verdict
from explainers.runtime.model import PreparedModel
from explainers.runtime.pace import Pace
from explainers.types import Attribution, ParamValue
from models.context import RunContext
from models.errors import ExplainError
from models.preprocess import Prepared
from models.types import Target


def judge(model: PreparedModel, request: JudgeRequest, ctx: RunContext) -> Verdicts:
    """See :meth:`dashboard.serving.types.Engine.judge`.

    Raises:
        ExplainError: no map, or maps of different targets.
    """
    if len({asked.target for asked, _ in request.maps}) != 1:
        raise ExplainError("Maps are checked together only where they explain the same class of one picture.")
    first, _ = request.maps[0]
    prepared = model.exact.prepare(first.image)
    model.expect_many()  # a thousand inputs follow
    with model.passes(ctx) as passes:
        subject = Subject(
            prepared,
            first.target,
            passes,
            places=all_to_grid(request.places, prepared),
            anatomy=all_to_grid(request.parts, prepared),
            seen=seen_of(prepared),
            card=model.card,
            seed=first.seed,
        )
        again = [_Again(asked, done.attribution.params, passes, prepared) for asked, done in request.maps]
        evidence = evidence_of(subject, [done.attribution for _, done in request.maps], again)
        found: list[dict[str, Verdict]] = [{} for _ in evidence]
        for index, verdicts in enumerate(request.known):
            found[index] = {verdict.check: verdict for verdict in verdicts}
        known = {(index, check) for index, verdicts in enumerate(found) for check in verdicts}
        ctx.total = max(1, cost(evidence, known=known))
        for index, verdict in strip(evidence, known=known):
            found[index][verdict.check] = verdict
            ctx.show(_ordered(found))
    return _ordered(found)


def forecast(pace: Pace, channels: int, requests: Sequence[ExplainRequest]) -> float:
    """Seconds, from what passes of the network, with so many input channels, took."""
    size = (pace.height, pace.width)
    colour = torch.zeros(channels)
    subject = Subject(
        Prepared(torch.zeros(1, channels, *size), np.eye(3), size, colour, colour),
        requests[0].target,
        Passes(nn.Identity(), RunContext()),  # nothing is passed
    )
    return pace.seconds_for(cost([Evidence(subject, _blank(asked, size), _unasked) for asked in requests]))


def _blank(asked: ExplainRequest, size: tuple[int, int]) -> Attribution:
    """A map with the settings of that request, which its costs follow from."""
    spec = EXPLAINERS.get(asked.method, ExplainError).spec
    values, params = np.zeros((1, *size), np.float32), spec.resolve(asked.params)
    return Attribution(asked.method, spec.title, asked.target, values, spec.signed, spec.unit, params, asked.seed, 0.0)


def _unasked(tensor: Tensor) -> Attribution:
    raise ExplainError("No map is made for a forecast.")


class _Again:
    """Explains another input as a map was made."""

    def __init__(
        self, asked: ExplainRequest, params: Mapping[str, ParamValue], passes: Passes, prepared: Prepared
    ) -> None:
        self._explainer = EXPLAINERS.get(asked.method, ExplainError)
        self._target: Target = asked.target
        self._params, self._seed, self._passes, self._prepared = params, asked.seed, passes, prepared

    def __call__(self, tensor: Tensor) -> Attribution:
        other = replace(self._prepared, tensor=tensor)
        (made,) = self._explainer.explain(self._passes, other, [self._target], self._params, self._seed)
        return made


def _ordered(found: Sequence[dict[str, Verdict]]) -> Verdicts:
    order = [check.spec.id for check in checks()]
    return tuple(tuple(one[name] for name in order if name in one) for one in found)
