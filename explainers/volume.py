"""Occlusion of a volume, coarse to fine: the score lost when a cuboid of it is hidden.

After Zeiler and Fergus, ECCV 2014, section 4.2. Differs: cuboids of given size in mm instead of squares in pixels; they
tile the volume without overlap, and where hiding one matters most it is halved along each axis, down to the finest size or
until the passes allowed are used up. Cuboids of several sizes stand side by side in the map, so a voxel's value is the drop
of the smallest cuboid that covers it, spread evenly over that cuboid's volume (logit / ml): values of large and small
cuboids compare, and their sum times the voxel's volume is the sum of the drops.

For a network that sees one slice at a time, the volume's score pools those of its slices (log-sum-exp pooling, Pinheiro and
Collobert, CVPR 2015), and of a hidden cuboid only the slices that it touches are passed again, which changes no number. For
one that sees neighbouring slices at once, the score is that of its middle slice, and a cuboid hides part of the slices that it
sees; channels that show the same slice, as at the ends of a volume, are hidden together. The map is laid over the slices that
the channels were mixed from, each with its part, so that the sum of values times the voxel's volume stays that of the drops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp

from explainers.methods._base import Maker, Result
from explainers.methods._baselines import baseline, baseline_param
from explainers.passes import Boxes, Passes
from explainers.targets import score
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue
from models.context import RunContext
from models.errors import ExplainError
from models.preprocess import InputSpec, Prepared, neighbour_shares, neighbours, prepare
from models.types import FloatArray, Image, Target

Channels = tuple[int, int]
Hidden = Callable[[int, Boxes, Channels | None], FloatArray]
Show = Callable[[Attribution], None]
Cuboids = NDArray[np.int64]  # (N, 6): first and stop along slices, rows, columns of the grid
MEAN, MAXIMUM = "log-mean-exp", "maximum"
_SPLIT = 1.5  # an axis of a cuboid is halved while it is so many times the finest size
_FIRST_LOOK = 0.5  # share of the passes that the coarsest cuboids may take
_LEAST_COARSE, _LEAST_FINE = 8.0, 2.0  # mm, where the sizes are not given
_SAME = 1e-6  # slices; channels nearer to each other show the same
_WORTH = 0.05  # of the largest drop; cuboids that matter less stay as they are


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return int(params["passes"])


VOLUME_OCCLUSION = ExplainerSpec(
    id="occlusion-3d",
    title="3-D occlusion",
    family="perturbation",
    signed=True,
    unit="logit / ml",
    dims=(3,),
    needs_gradient=False,
    params=(
        Param("coarse", "Coarsest cuboid", "float", 0.0, help="Side at the first look; larger where the passes allowed "
              "would not reach. 0: a sixth of what the network sees.", low=0, high=400, step=1, unit="mm"),
        Param("finest", "Finest cuboid", "float", 0.0, help="Cuboids are halved down to about this side. 0: an eighth of "
              "the coarsest.", low=0, high=100, step=0.5, unit="mm"),
        baseline_param("fill", "Hidden by", "mean"),
        Param("pooling", "Score of the volume", "choice", MEAN, choices=(MEAN, MAXIMUM), help="How the scores of the "
              "slices make one: a smooth maximum, or the highest. Not used where the network sees neighbouring slices."),
        Param("sharpness", "Sharpness", "float", 1.0, help="Of the smooth maximum: the larger, the nearer to the highest "
              "slice.", low=0.1, high=20, step=0.1),
        Param("passes", "Passes allowed", "int", 6000, help="Slices with something hidden that the network may be shown.",
              low=16, high=200_000, step=1, unit="passes"),
    ),
    cost=_cost,
    paper="after Zeiler and Fergus 2014, arXiv:1311.2901",
    summary="How much the score drops when a block of the volume is hidden; coarse blocks first, the important ones halved.",
    order=40,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class VolumeGrid:
    """The network's input grid, slice over slice, in the volume.

    Attributes:
        shape: (D, H, W) cells.
        pitch_mm: between cells along (slice, row, column); at the ends of a volume, a network of neighbouring slices may
            see slices that lie closer.
        rows, columns: first and stop of the cells that show the image, not its padding.
        to_image: (4, 4) float64, (column, row, slice, 1) of what :meth:`laid` gives to the same in the volume.
        cell_ml: volume of a cell.
        channels: where the D slices are those of one input, first and stop of the channels that show each; empty where
            each slice is an input.
        onto: (slices of the volume, D) float64, what of the values of each goes to a slice of the volume; None where
            each slice is an input.
    """

    shape: tuple[int, int, int]
    pitch_mm: tuple[float, float, float]
    rows: tuple[int, int]
    columns: tuple[int, int]
    to_image: NDArray[np.float64]
    cell_ml: float
    channels: tuple[Channels, ...] = ()
    onto: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, image: Image, spec: InputSpec, slices: range, at: int) -> VolumeGrid:
        """The grid over some slices of a volume or, for a network of neighbouring slices, over those it sees around ``at``.

        Raises:
            ExplainError: the image is no volume, or its spacing is not known.
            DataError: the network cannot be shown its slices.
        """
        if not image.is_volume:
            raise ExplainError("3-D occlusion needs a volume, and this image is a single slice; choose Occlusion.")
        if image.geometry is None:
            raise ExplainError(
                "3-D occlusion needs the spacing in mm, which this volume does not give; use DICOM or NIfTI."
            )
        prepared = prepare(image.slice(at), spec)
        plane, spacing = prepared.grid_to_image, image.geometry.spacing
        step, first, count = float(slices.step), slices.start, len(slices)
        channels: tuple[Channels, ...] = ()
        onto: NDArray[np.float64] | None = None
        to_image = np.eye(4)
        to_image[:2, :2], to_image[:2, 3] = plane[:2, :2], plane[:2, 2]
        if spec.slices > 1:
            step = spec.slice_step_mm / spacing[2]
            first, shares = neighbour_shares(image.slice(at), spec)
            channels = _alike(image.slice(at), spec)
            count, onto = len(channels), step * shares[:, [one for one, _ in channels]]
        to_image[2, 2:] = (step, first) if onto is None else (1, first)
        height, width = prepared.image_shape
        slice_ml = abs(float(np.linalg.det(image.geometry.affine[:3, :3]) * np.linalg.det(plane[:2, :2]))) / 1000
        return cls(
            shape=(count, *prepared.grid_shape),
            pitch_mm=(step * spacing[2], float(plane[1, 1]) * spacing[1], float(plane[0, 0]) * spacing[0]),
            rows=cells_on_image(plane[1, 1], plane[1, 2], prepared.grid_shape[0], height),
            columns=cells_on_image(plane[0, 0], plane[0, 2], prepared.grid_shape[1], width),
            to_image=to_image,
            cell_ml=step * slice_ml,
            channels=channels,
            onto=onto,
        )

    @property
    def by_channel(self) -> bool:
        """The D slices are channels of one input."""
        return bool(self.channels)

    def laid(self, values: FloatArray) -> FloatArray:
        """(D, H, W) float32 on the grid to (d, H, W) where :attr:`to_image` says; NaN where a slice is not seen."""
        if self.onto is None:
            return values
        found: FloatArray = np.tensordot(self.onto, values.astype(np.float64), axes=1).astype(np.float32)
        found[~self.onto.any(axis=1)] = np.nan
        return found

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """What the network sees along (slice, row, column)."""
        cells = self.shape[0], self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]
        return cells[0] * self.pitch_mm[0], cells[1] * self.pitch_mm[1], cells[2] * self.pitch_mm[2]


def occlude(
    grid: VolumeGrid,
    clean: FloatArray,
    hidden: Hidden,
    target: Target,
    params: Mapping[str, ParamValue],
    ctx: RunContext,
    show: Show = lambda _: None,
    seed: int = 0,
) -> Attribution:
    """The map of a volume, (1, D, H, W) float32 on the grid, in logit / ml.

    Args:
        clean: (D, K) logits of the slices with nothing hidden; (1, K) for a network of neighbouring slices.
        hidden: logits (n, K) of input i with one of n boxes (top, left, height, width on the grid) at a time hidden, in all
            channels or in those from first to stop.
        params: resolved.
        ctx: ticks once a pass, as often as passes are allowed in the end.
        show: called with maps that are not complete yet.

    Raises:
        ExplainError: too few passes are allowed for a first look.
        Cancelled: the user stopped the work.
    """
    return _Search(grid, clean, hidden, target, params, ctx, show, Maker(VOLUME_OCCLUSION, params, seed)).run()


def hide(passes: Passes, prepared: Prepared, boxes: Boxes, fill: str, channels: Channels | None) -> FloatArray:
    """Logits (n, K) of an input with one box at a time hidden, in all channels or in those from first to stop."""
    covering = baseline(prepared, fill)
    if channels is not None:
        whole, part = covering, slice(*channels)
        covering = prepared.tensor.clone()
        covering[:, part] = whole[:, part]
    size = passes.windows
    parts = [
        passes.hidden(prepared.tensor, covering, boxes[first : first + size]) for first in range(0, len(boxes), size)
    ]
    logits: FloatArray = torch.cat(parts).float().cpu().numpy()
    return logits


def pooled(scores: NDArray[np.float64], rule: str, sharpness: float) -> NDArray[np.float64]:
    """One score of those of the slices, along the last axis.

    "log-mean-exp" is log(mean(exp(r s))) / r with the sharpness r: near the mean for a small r, near the maximum for a large one.
    """
    if rule == MAXIMUM:
        return np.asarray(scores.max(axis=-1))
    return np.asarray((logsumexp(sharpness * scores, axis=-1) - math.log(scores.shape[-1])) / sharpness)


class _Search:
    """The cuboids looked at so far, and the next ones."""

    def __init__(
        self,
        grid: VolumeGrid,
        clean: FloatArray,
        hidden: Hidden,
        target: Target,
        params: Mapping[str, ParamValue],
        ctx: RunContext,
        show: Show,
        maker: Maker,
    ) -> None:
        self._grid, self._hidden, self._target, self._ctx = grid, hidden, target, ctx
        self._show, self._maker = show, maker
        self._rule, self._sharpness = str(params["pooling"]), float(params["sharpness"])
        self._passes = int(params["passes"])
        self._slices = self._scores(clean)
        self._whole = float(self._pool(self._slices))
        self._spent = 0
        self._coarse = float(params["coarse"]) or max(_LEAST_COARSE, max(grid.extent_mm[1:]) / 6)
        self._finest = float(params["finest"]) or max(_LEAST_FINE, self._coarse / 8)
        self._leaves: dict[tuple[int, ...], float] = {}  # what hiding a cuboid costs
        self._largest = 0.0

    def run(self) -> Attribution:
        first = self._first()
        for layer in self._by_layers(first):
            self._look(layer)
            self._show(self._attribution())
        while sum(self._refine(level) for level in range(max(map(self._levels, self._leaves)), 0, -1)):
            pass  # passes were left: the strongest of what stayed coarse comes next
        self._ctx.tick(max(0, self._passes - self._spent))  # the passes it could do without
        return self._attribution()

    def _first(self) -> Cuboids:
        """The coarsest cuboids, larger than asked where so many would take too many passes."""
        depth, slices = self._grid.shape[0], self._grid.pitch_mm[0]
        while True:
            layers, rows, columns = (
                _tiles(*place, pitch, self._coarse)
                for place, pitch in zip(
                    ((0, depth), self._grid.rows, self._grid.columns), (slices, *self._grid.pitch_mm[1:]), strict=True
                )
            )
            places = len(rows) * len(columns)
            passes = places * (len(layers) if self._grid.by_channel else depth)
            if passes <= max(1, _FIRST_LOOK * self._passes) or places == 1:
                break
            self._coarse *= 2
        if passes > self._passes:
            raise ExplainError(
                f"3-D occlusion: {self._passes} passes do not reach for {depth} slices; allow at least {passes}, or "
                "choose fewer slices."
            )
        return np.array([(*z, *y, *x) for z, y, x in product(layers, rows, columns)], dtype=np.int64)

    def _by_layers(self, cuboids: Cuboids) -> list[Cuboids]:
        """Cuboids that lie between the same two slices go together; the layer with the highest slice comes first."""
        layers, which = np.unique(cuboids[:, :2], axis=0, return_inverse=True)
        groups = [cuboids[which.ravel() == number] for number in range(len(layers))]
        if self._grid.by_channel:
            return groups
        return sorted(groups, key=lambda group: -float(self._slices[group[0, 0] : group[0, 1]].max()))

    def _look(self, layer: Cuboids) -> None:
        """What hiding each of the cuboids of a layer costs."""
        first, stop = int(layer[0, 0]), int(layer[0, 1])
        boxes = np.stack([layer[:, 2], layer[:, 4], layer[:, 3] - layer[:, 2], layer[:, 5] - layer[:, 4]], axis=1)
        if self._grid.by_channel:
            left = self._passed(0, boxes, (self._grid.channels[first][0], self._grid.channels[stop - 1][1]))
        else:
            slices = np.repeat(self._slices[None], len(layer), axis=0)
            for number in range(first, stop):
                slices[:, number] = self._passed(number, boxes, None)
            left = self._pool(slices)
        drops = (self._whole - left).tolist()
        self._leaves.update(zip(map(tuple, layer.tolist()), drops, strict=True))
        self._largest = max(self._largest, *map(abs, drops))

    def _passed(self, number: int, boxes: Boxes, channels: Channels | None) -> NDArray[np.float64]:
        found = self._scores(self._hidden(number, boxes, channels))
        self._spent += len(boxes)
        self._ctx.tick(len(boxes))
        return found

    def _refine(self, level: int) -> bool:
        """Halve the leaves that can be halved so often, those with the largest drops first, as many as this level's share of
        the passes left allows, so that some are left for the levels below; False where there is none."""
        left = self._passes - self._spent
        least = _WORTH * self._largest
        candidates = [leaf for leaf, drop in self._leaves.items() if abs(drop) > least and self._levels(leaf) == level]
        chosen: list[tuple[int, ...]] = []
        taken = 0
        for leaf in sorted(candidates, key=lambda leaf: -abs(self._leaves[leaf])):
            taken += self._passes_of(leaf)
            if taken > (left // level if chosen else left):
                break
            chosen.append(leaf)
        if not chosen:
            return False
        for layer in self._by_layers(np.array([child for leaf in chosen for child in self._halves(leaf)])):
            self._look(layer)
        for leaf in chosen:
            del self._leaves[leaf]
        self._show(self._attribution())
        return True

    def _levels(self, leaf: Sequence[int]) -> int:
        """How often the leaf can be halved."""
        return max(self._axis_levels(leaf, axis) for axis in range(3))

    def _axis_levels(self, leaf: Sequence[int], axis: int) -> int:
        cells = leaf[2 * axis + 1] - leaf[2 * axis]
        sizes = cells * self._grid.pitch_mm[axis] / (_SPLIT * self._finest)
        return 0 if sizes < 1 else min(math.floor(math.log2(sizes)) + 1, cells.bit_length() - 1)

    def _halves(self, leaf: Sequence[int]) -> Iterable[tuple[int, ...]]:
        most = self._levels(leaf)
        sides = []
        for axis in range(3):
            first, stop = leaf[2 * axis], leaf[2 * axis + 1]
            middle = (first + stop) // 2
            halved = self._axis_levels(leaf, axis) == most
            sides.append(((first, middle), (middle, stop)) if halved else ((first, stop),))
        return ((*z, *y, *x) for z, y, x in product(*sides))

    def _passes_of(self, leaf: Sequence[int]) -> int:
        """That halving it takes."""
        children = list(self._halves(leaf))
        return len(children) if self._grid.by_channel else sum(child[1] - child[0] for child in children)

    def _scores(self, logits: FloatArray) -> NDArray[np.float64]:
        return score(torch.from_numpy(np.asarray(logits, dtype=np.float64)), self._target).numpy()

    def _pool(self, slices: NDArray[np.float64]) -> NDArray[np.float64]:
        return slices[..., 0] if self._grid.by_channel else pooled(slices, self._rule, self._sharpness)

    def _attribution(self) -> Attribution:
        """The map as far as it is known; 0 where nothing has been hidden yet."""
        values = np.zeros(self._grid.shape, dtype=np.float32)
        smallest, strongest = np.full(3, np.inf), (0.0, 0.0)
        for leaf, drop in self._leaves.items():
            cells = np.diff(np.reshape(leaf, (3, 2)), axis=1)[:, 0]
            ml = float(cells.prod()) * self._grid.cell_ml
            values[tuple(slice(*leaf[2 * axis : 2 * axis + 2]) for axis in range(3))] = drop / ml
            smallest = np.minimum(smallest, cells * self._grid.pitch_mm)
            strongest = max(strongest, (drop, ml))
        facts = {
            "score": f"{self._whole:.4g}",
            "cuboids": str(len(self._leaves)),
            "passes": str(self._spent),
            "coarsest": f"{self._coarse:.3g} mm",
            "finest": " x ".join(f"{side:.1f}" for side in smallest) + " mm (slices, rows, columns)",
            "largest drop": f"{strongest[0]:.3g} in {strongest[1]:.2f} ml",
        }
        return self._maker.attribution(self._target, Result(values[None], facts=facts))


def _alike(plane: Image, spec: InputSpec) -> tuple[Channels, ...]:
    """First and stop of the channels that show the same place; at the ends of a volume there are several."""
    below, _, share = neighbours(plane, spec)
    edges = np.flatnonzero(np.diff(below + share) > _SAME) + 1
    return tuple(pairwise([0, *edges.tolist(), spec.slices]))


def cells_on_image(scale: float, shift: float, size: int, image_size: int) -> tuple[int, int]:
    """First and stop of the grid's cells whose centres lie on the image."""
    centres = np.arange(size) * scale + shift
    inside = np.flatnonzero((centres >= -0.5) & (centres <= image_size - 0.5))
    return int(inside[0]), int(inside[-1]) + 1


def _tiles(first: int, stop: int, pitch: float, side: float) -> list[tuple[int, int]]:
    """Equal parts of a range of cells, none longer than ``side`` (mm) where a cell is not."""
    count = min(stop - first, max(1, math.ceil((stop - first) * pitch / side - 1e-9)))
    edges = np.linspace(first, stop, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))
