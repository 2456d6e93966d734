"""Occlusion: the score lost when a window of the image is hidden (Zeiler and Fergus, ECCV 2014, section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from explainers.methods._base import AnyNetwork, Maker, Result, scores
from explainers.methods._baselines import baseline, baseline_param
from explainers.passes import Boxes, Passes
from explainers.registry import EXPLAINERS
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue
from models.errors import ExplainError
from models.preprocess import Prepared
from models.types import FloatArray, Target

COARSE = 0.1  # share of the windows behind the first map
_SHOWN = 0.25  # share of the windows between one incomplete map and the next


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side; the last is cut off at the edge where the stride does not fit."""
    return [step * stride for step in range(math.ceil(max(size - window, 0) / stride) + 1)]


def positions(params: Mapping[str, ParamValue], input_shape: Sequence[int]) -> int:
    """Number of places the window visits."""
    window, stride = int(params["window"]), int(params["stride"])
    return math.prod(len(_starts(size, window, stride)) for size in input_shape)


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return positions(params, input_shape) + 1  # and the image as it is


class Occlusion(AnyNetwork):
    """Score of the image minus its score with the window hidden, all channels together.

    Positive: the class loses score when the pixel is hidden. A pixel's value is the mean over all windows that
    cover it (captum's convention). Differs: the paper hides with grey only; ``fill`` chooses what hides. Windows on a
    coarse grid come first, then those beside the strongest effects; what is shown meanwhile takes the nearest window's
    value, and the complete map does not depend on the order.
    """

    spec = ExplainerSpec(
        id="occlusion",
        title="Occlusion",
        family="perturbation",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=False,
        params=(
            Param(
                "window",
                "Window",
                "int",
                32,
                help="Side of the hidden square, on the network's input.",
                low=2,
                high=512,
                step=1,
                unit="px",
            ),
            Param(
                "stride",
                "Stride",
                "int",
                16,
                help="Step between windows; at most the window.",
                low=1,
                high=512,
                step=1,
                unit="px",
            ),
            baseline_param("fill", "Hidden by", "mean"),
        ),
        cost=_cost,
        paper="Zeiler and Fergus 2014, arXiv:1311.2901",
        summary="How much the score drops when a square of the image is hidden; slow, and free of gradients.",
        order=30,
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
        rows, columns = self._grid(params, prepared.grid_shape)
        window = int(params["window"])
        boxes = np.array([(top, left, window, window) for top in rows for left in columns], dtype=np.int64)
        fill = baseline(prepared, str(params["fill"]))
        whole = scores(passes.logits(prepared.tensor), targets)
        drops = np.full((len(targets), len(boxes)), np.nan)

        def found() -> tuple[Attribution, ...]:
            known = int(np.isfinite(drops[0]).sum())
            facts = {"windows": str(known) if known == len(boxes) else f"{known} of {len(boxes)}"}
            maps = [_averaged(_nearest(one, boxes), boxes, prepared.grid_shape) for one in drops]
            return tuple(
                made.attribution(target, Result(one, facts=facts)) for target, one in zip(targets, maps, strict=True)
            )

        for chosen in _coarse_to_fine((len(rows), len(columns)), passes.windows, boxes, drops):
            logits = passes.hidden(prepared.tensor, fill, boxes[chosen])
            for number, hidden in enumerate(scores(logits, targets)):
                drops[number, chosen] = whole[number][0] - np.array(hidden)
            if _due(drops[0], len(chosen)):
                passes.show(found())
        return found()

    @staticmethod
    def _grid(params: Mapping[str, ParamValue], shape: tuple[int, int]) -> tuple[list[int], list[int]]:
        window, stride = int(params["window"]), int(params["stride"])
        if window > min(shape):
            raise ExplainError(
                f"Occlusion: the window of {window} px does not fit the network's input of {min(shape)} px; "
                "choose a smaller window."
            )
        if stride > window:
            raise ExplainError(
                f"Occlusion: a stride of {stride} px leaves gaps between windows of {window} px; choose a smaller stride."
            )
        return _starts(shape[0], window, stride), _starts(shape[1], window, stride)


def _coarse_to_fine(
    grid: tuple[int, int], together: int, boxes: Boxes, drops: NDArray[np.float64]
) -> Iterator[NDArray[np.int64]]:
    """Indices of windows, ``together`` at a time: an even tenth first, then neighbours, those near strong drops first.

    Which windows go together depends on the grid alone: so the answers do not depend on the target, bit for bit, and
    can be shared. ``drops`` (T, N) is read once the tenth has been answered for.
    """
    first = _even(grid)
    yield from _parts(first, together)
    rest = _parts(np.setdiff1d(np.arange(len(boxes)), first), together)
    strength = np.abs(np.stack([_nearest(one, boxes) for one in drops])).max(axis=0)
    yield from sorted(rest, key=lambda part: -float(strength[part].max()))


def _parts(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def _even(grid: tuple[int, int]) -> NDArray[np.int64]:
    """About a tenth of the places of a grid, spread evenly and at least one; indices in rising order."""
    most = max(1, int(COARSE * grid[0] * grid[1]))
    step = next(step for step in range(1, max(grid) + 1) if math.prod(-(-side // step) for side in grid) <= most)
    rows, columns = (np.arange(((side - 1) % step) // 2, side, step) for side in grid)
    return (rows[:, None] * grid[1] + columns).ravel()


def _due(drops: NDArray[np.float64], just: int) -> bool:
    """Whether the map should be shown: the coarse one, and from then on after every quarter."""
    known, count = int(np.isfinite(drops).sum()), len(drops)
    marks = [COARSE * count * 0.99, *(share * count for share in np.arange(_SHOWN, 1, _SHOWN))]
    return known < count and any(known - just < mark <= known for mark in marks)


def _nearest(drops: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Every window's drop, (N,); that of the nearest known one where it is not known."""
    known = np.isfinite(drops)
    if known.all():
        return drops
    centres = boxes[:, :2]
    return drops[known][cKDTree(centres[known]).query(centres)[1]]


def _averaged(drops: NDArray[np.float64], boxes: Boxes, shape: tuple[int, int]) -> FloatArray:
    """(1, H, W): each pixel's mean over the windows that cover it."""
    total, count = np.zeros(shape), np.zeros(shape)
    for drop, (top, left, height, width) in zip(drops, boxes, strict=True):
        place = np.s_[top : top + height, left : left + width]
        total[place] += drop
        count[place] += 1
    return (total / count).astype(np.float32)[None]


EXPLAINERS.register(Occlusion.spec.id, Occlusion())
