"""Integrated gradients: gradients gathered between a baseline and the image (Sundararajan et al., ICML 2017, eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainers.methods._base import AnyNetwork, Maker, Result, completeness_error, scores, to_array
from explainers.methods._baselines import baseline, baseline_param
from explainers.passes import Passes
from explainers.registry import EXPLAINERS
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target

UNTIL_CONVERGED, GAUSS, MIDPOINT = "until converged", "Gauss-Legendre", "midpoint"
CONVERGED = 0.05  # relative L2 change of the map when the points are doubled


def levels(most: int) -> list[int]:
    """Numbers of intervals 4, 8, 16 ... with at most ``most`` points (9 or more); a level's points are all in the next."""
    found = [4]
    while 2 * found[-1] + 1 <= most:
        found.append(2 * found[-1])
    return found


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    steps = int(params["steps"])
    return levels(steps)[-1] + 1 if params["rule"] == UNTIL_CONVERGED else steps + 2  # and the two end points


class IntegratedGradients(AnyNetwork):
    """(x - x') times the integral over a in [0, 1] of d score / d input at x' + a (x - x').

    "until converged" is the trapezoidal rule on 5, 9, 17, 33 ... points, each level reusing the points of the one
    before, until doubling the points changes the map by less than 5 % of its L2 norm, for each target by itself, or the
    next level would have more points than allowed; the facts say how many it took and whether it has converged. The
    completeness error does not tell that: it may be small long before the map has settled.

    The other rules are those of captum, with a fixed number of points.
    """

    spec = ExplainerSpec(
        id="integrated-gradients",
        title="Integrated gradients",
        family="gradient",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param(
                "steps",
                "Points",
                "int",
                65,
                help="Points on the way from the baseline to the image; the most, where the rule stops by itself.",
                low=9,
                high=1000,
                step=1,
                unit="points",
            ),
            baseline_param("baseline", "Baseline", "black"),
            Param("rule", "Integration rule", "choice", UNTIL_CONVERGED, choices=(UNTIL_CONVERGED, GAUSS, MIDPOINT)),
        ),
        cost=_cost,
        paper="Sundararajan et al. 2017, arXiv:1703.01365",
        summary="What each pixel adds to the score against a baseline; the values add up to the difference.",
        order=20,
    )

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        """See ``explainers.types.Explainer``."""
        made = Maker(self.spec, params, seed)
        path = _Path(prepared.tensor, baseline(prepared, str(params["baseline"])))
        steps, rule = int(params["steps"]), str(params["rule"])
        if rule == UNTIL_CONVERGED:
            found = _refined(passes, path, targets, steps)
        else:
            found = _fixed(passes, path, targets, *(_gauss(steps) if rule == GAUSS else _midpoints(steps)))
        return tuple(made.attribution(target, one) for target, one in zip(targets, found, strict=True))


@dataclass(frozen=True, eq=False)
class _Path:
    """The straight way from the baseline to the image, both (1, C, H, W)."""

    image: Tensor
    start: Tensor

    def at(self, places: NDArray[np.float64]) -> Tensor:
        """(n, C, H, W) for n places in [0, 1]."""
        along = torch.from_numpy(places).to(self.image).view(-1, 1, 1, 1)
        return self.start + along * (self.image - self.start)

    def sums(
        self, passes: Passes, places: NDArray[np.float64], weights: NDArray[np.float64], targets: Sequence[Target]
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """By batches: the range, its logits and the weighted sums of its gradients, (T, C, H, W) float64."""
        for part, logits, found in passes.gradients(len(places), lambda part: self.at(places[part]), targets):
            scale = torch.from_numpy(weights[part]).to(found.device).view(1, -1, 1, 1, 1)
            yield part, logits, (scale * found).sum(dim=1)

    def map(self, integral: Tensor) -> Tensor:
        return (self.image - self.start)[0] * integral

    def result(self, values: Tensor, score: float, start_score: float, facts: Mapping[str, str]) -> Result:
        array = to_array(values)
        error = completeness_error(array, score - start_score)
        known = {"score": f"{score:.4g}", "baseline score": f"{start_score:.4g}"}
        return Result(array, completeness_error=error, facts=known | dict(facts))


def _fixed(
    passes: Passes,
    path: _Path,
    targets: Sequence[Target],
    places: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> list[Result]:
    ends = scores(passes.logits(torch.cat([path.image, path.start])), targets)
    total = torch.zeros(len(targets), *path.image.shape[1:], dtype=torch.float64, device=path.image.device)
    for _, _, part in path.sums(passes, places, weights, targets):
        total += part
    facts = {"points": str(len(places))}
    return [path.result(path.map(one), end, start, facts) for one, (end, start) in zip(total, ends, strict=True)]


def _refined(passes: Passes, path: _Path, targets: Sequence[Target], most: int) -> list[Result]:
    """The trapezoidal rule, its intervals halved until each target's map has settled."""
    done: dict[int, Result] = {}
    ends: list[list[float]] = [[] for _ in targets]
    inner = torch.zeros(len(targets), *path.image.shape[1:], dtype=torch.float64, device=path.image.device)
    before: dict[int, Tensor] = {}
    allowed = levels(most)
    for intervals in allowed:
        first = intervals == allowed[0]
        open_ = [number for number in range(len(targets)) if number not in done]
        places = np.arange(intervals + 1) / intervals if first else np.arange(1, intervals, 2) / intervals
        weights = np.where((places == 0) | (places == 1), 0.5, 1.0)
        wanted = [targets[number] for number in open_]
        for part, logits, found in path.sums(passes, places, weights, wanted):
            inner[open_] += found
            if first:
                for own, batch in zip(ends, scores(logits, targets), strict=True):
                    own += [batch[at] for at, place in enumerate(places[part]) if place in (0.0, 1.0)]
        for number in open_:
            values = path.map(inner[number] / intervals)
            change = _change(values, before.get(number))
            before[number] = values
            settled = change < CONVERGED
            if settled or intervals == allowed[-1]:
                facts = {
                    "points": str(intervals + 1),
                    "change at the last doubling": f"{change:.1%}",
                    "converged": "yes" if settled else "no",
                }
                start, end = ends[number]
                done[number] = path.result(values, end, start, facts)
        if len(done) == len(targets):
            passes.ctx.tick(allowed[-1] - intervals)  # the points it could do without
            break
    return [done[number] for number in range(len(targets))]


def _change(values: Tensor, before: Tensor | None) -> float:
    """Relative L2 difference from the level before; infinite for the first."""
    if before is None:
        return float("inf")
    return float((values - before).norm() / values.norm().clamp(min=1e-30))


def _gauss(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _midpoints(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (np.arange(count) + 0.5) / count, np.full(count, 1 / count)


EXPLAINERS.register(IntegratedGradients.spec.id, IntegratedGradients())
