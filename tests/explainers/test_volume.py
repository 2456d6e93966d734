"""3-D occlusion: cuboid sums of a linear score, slices touched alone, sizes in mm, a planted ball, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explainers.passes import Passes
from explainers.volume import MAXIMUM, MEAN, VOLUME_OCCLUSION, VolumeGrid, hide, occlude, pooled
from models.context import RunContext
from models.errors import ExplainError
from models.preprocess import InputSpec, prepare
from models.types import Geometry, Image, Modality, Target
from tests.explainers.support import exclusive, prepared_input

ONE = Target("one", 0)
RNG = np.random.default_rng(5)


def grid_of(shape: tuple[int, int, int], pitch: tuple[float, float, float], by_channel: bool = False) -> VolumeGrid:
    channels = tuple((number, number + 1) for number in range(shape[0])) if by_channel else ()
    return VolumeGrid(
        shape, pitch, (0, shape[1]), (0, shape[2]), np.eye(4), float(np.prod(pitch)) / 1000, channels=channels
    )


def toy(volume: np.ndarray, weight: np.ndarray, fill: float = 0.0, calls: list | None = None) -> Callable:
    """Slices whose score bends: tanh of a weighted sum, one at a time, in float64."""

    def hidden(number: int, boxes: np.ndarray, channels: tuple[int, int] | None) -> np.ndarray:
        assert channels is None
        if calls is not None:
            calls.extend([number] * len(boxes))
        found = []
        for top, left, height, width in boxes:
            shown = volume[number].copy()
            shown[top : top + height, left : left + width] = fill
            found.append([3 * np.tanh((shown * weight[number]).sum() / 10)])
        return np.array(found)

    return hidden


def clean_of(volume: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return 3 * np.tanh((volume * weight).sum(axis=(1, 2), keepdims=True)[:, 0] / 10)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 32 * 32, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.flatten(1))


@pytest.mark.parametrize("fill", ["mean", "black", "blurred"])
def test_of_a_linear_score_each_block_holds_its_sum(fill: str) -> None:
    """Over any block that was looked at, however finely it was cut later, values times ml add up to sum w (x - fill)."""
    from explainers.methods._baselines import baseline

    net, prepared, grid = Linear().eval(), prepared_input(), grid_of((3, 32, 32), (2.5, 1.0, 0.5), by_channel=True)
    params = VOLUME_OCCLUSION.resolve({"coarse": 8, "finest": 2, "fill": fill, "passes": 600})
    ctx = RunContext()
    with exclusive(net, RunContext()):
        passes = Passes(net, RunContext())
        clean = passes.logits(prepared.tensor).numpy()
        found = occlude(
            grid, clean, lambda _, boxes, channels: hide(passes, prepared, boxes, fill, channels), ONE, params, ctx
        )
    weight = net.head.weight[0].detach().double().numpy().reshape(3, 32, 32)
    away = (prepared.tensor - baseline(prepared, fill))[0].double().numpy()
    drops = found.values[0].astype(np.float64) * grid.cell_ml
    for z, y, x in product(range(1), range(0, 32, 8), range(0, 32, 16)):
        block = np.s_[z : z + 3, y : y + 8, x : x + 16]
        assert drops[block].sum() == pytest.approx((weight * away)[block].sum(), abs=2e-5)
    assert found.unit == "logit / ml"
    assert int(found.facts["passes"]) <= 600
    assert ctx.ticks == 600
    # Where it was cut to the finest, each small block is constant and holds its own sum.
    strongest = np.unravel_index(np.abs(drops).argmax(), drops.shape)
    same = np.argwhere(found.values[0] == found.values[0][strongest])
    low, high = same.min(axis=0), same.max(axis=0) + 1
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    assert drops[block].sum() == pytest.approx((weight * away)[block].sum(), abs=2e-6)
    assert ((high - low) * grid.pitch_mm < 1.5 * 2 + 1e-9).all() or (high - low).max() == 1


@pytest.mark.parametrize(("rule", "sharpness"), [(MEAN, 1.0), (MEAN, 8.0), (MAXIMUM, 1.0)])
def test_slices_that_a_block_does_not_touch_need_not_be_passed_again(rule: str, sharpness: float) -> None:
    """Bit for bit what passing all slices of the volume again gives."""
    volume, weight = RNG.normal(size=(6, 12, 12)), RNG.normal(size=(6, 12, 12))
    grid, calls = grid_of((6, 12, 12), (3.0, 1.0, 1.0)), []
    params = VOLUME_OCCLUSION.resolve({"coarse": 6, "finest": 6, "pooling": rule, "sharpness": sharpness})
    found = occlude(grid, clean_of(volume, weight), toy(volume, weight, calls=calls), ONE, params, RunContext())
    assert len(calls) == 12 * 2  # twelve blocks of two slices, of six
    for z, y, x in product((0, 2, 4), (0, 6), (0, 6)):
        shown = volume.copy()
        shown[z : z + 2, y : y + 6, x : x + 6] = 0
        whole, left = (float(pooled(clean_of(one, weight)[:, 0], rule, sharpness)) for one in (volume, shown))
        ml = 72 * grid.cell_ml
        block = found.values[0, z : z + 2, y : y + 6, x : x + 6]
        np.testing.assert_array_equal(block, np.float32((whole - left) / ml))


def test_pooling_lies_between_mean_and_maximum() -> None:
    scores = RNG.normal(size=(4, 9)) * 3
    for sharpness in (0.5, 1, 3):
        expected = [math.log(sum(math.exp(sharpness * s) for s in row) / 9) / sharpness for row in scores.tolist()]
        np.testing.assert_allclose(pooled(scores, MEAN, sharpness), expected, rtol=1e-12)
    np.testing.assert_allclose(pooled(scores, MEAN, 1e-6), scores.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(pooled(scores, MEAN, 2000), scores.max(axis=1), atol=0.01)
    np.testing.assert_array_equal(pooled(scores, MAXIMUM, 1), scores.max(axis=1))


@pytest.mark.parametrize("spacing", [(1.0, 1.5, 2.5), (0.8, 0.8, 5.0), (2.0, 0.7, 1.0)])
def test_a_bright_ball_of_8_mm_is_found_within_one_finest_block(spacing: tuple[float, float, float]) -> None:
    """Voxels of unequal sides; the grid is the network's, twice as fine as the image along its rows."""
    size = tuple(round(mm / side) for mm, side in zip((64, 72, 60), spacing, strict=True))
    centre = np.array([21.3, 41.9, 33.1])  # mm along columns, rows, slices
    z, y, x = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(size[::-1], spacing[::-1], strict=True)), indexing="ij")
    ball = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < 16).astype(np.float32)
    image = Image(ball[None], "unit interval", Modality.CT, Geometry(np.diag([*spacing, 1.0])))
    spec = InputSpec(2 * size[1], size[0], 1, "stretch")
    grid = VolumeGrid.of(image, spec, range(image.depth), 0)
    planes = np.stack([prepare(image.slice(i), spec).tensor[0, 0].double().numpy() for i in range(image.depth)])
    weight = np.ones_like(planes) * 0.05
    params = VOLUME_OCCLUSION.resolve({"coarse": 32, "finest": 4, "passes": 4000})
    shown: list[int] = []
    found = occlude(
        grid,
        clean_of(planes, weight),
        toy(planes, weight),
        ONE,
        params,
        RunContext(),
        lambda partial: shown.append(int(partial.facts["passes"])),
    )
    top = np.argwhere(found.values[0] == found.values[0].max())
    place = (np.array([*top.mean(axis=0)[::-1], 1]) @ grid.to_image.T)[:3] * spacing
    assert (np.abs(place - centre) <= np.maximum(6, spacing)).all()  # blocks end at 3 to 6 mm, or at one voxel
    mass = np.maximum(found.values[0].astype(np.float64), 0)
    middle = [
        (mass.sum(axis=tuple({0, 1, 2} - {axis})) * np.arange(n)).sum() / mass.sum()
        for axis, n in enumerate(mass.shape)
    ]
    place = (np.array([*middle[::-1], 1]) @ grid.to_image.T)[:3] * spacing
    np.testing.assert_allclose(place, centre, atol=2)
    assert shown == sorted(shown)
    assert len(shown) > 3
    sides = np.array([float(side) for side in found.facts["finest"].split(" mm")[0].split(" x ")])
    assert (sides < 1.5 * 4).all()


def test_blocks_start_larger_where_few_passes_are_allowed_and_never_take_more() -> None:
    volume, weight = RNG.normal(size=(8, 40, 40)), RNG.normal(size=(8, 40, 40))
    for allowed in (16, 100, 500):
        calls: list[int] = []
        params = VOLUME_OCCLUSION.resolve({"coarse": 5, "finest": 2, "passes": allowed})
        grid = grid_of((8, 40, 40), (1.0, 1.0, 1.0))
        found = occlude(grid, clean_of(volume, weight), toy(volume, weight, calls=calls), ONE, params, RunContext())
        assert 8 <= len(calls) == int(found.facts["passes"]) <= allowed
    grid = grid_of((20, 4, 4), (1.0, 1.0, 1.0))
    few = VOLUME_OCCLUSION.resolve({"passes": 16})
    with pytest.raises(ExplainError, match="16 passes do not reach for 20 slices; allow at least 20"):
        occlude(grid, np.zeros((20, 1)), toy(np.zeros((20, 4, 4)), np.zeros((20, 4, 4))), ONE, few, RunContext())


@pytest.mark.parametrize("step_mm", [2.5, 3.0, 1.0])
@pytest.mark.parametrize("at", [0, 1, 3, 6])
def test_channels_of_one_slice_are_hidden_together_and_laid_where_it_is(
    ct_volume: Image, at: int, step_mm: float
) -> None:
    """A linear score over three neighbours among slices 1.5 mm apart: what each slice of the volume gives to it, and no more."""
    spec = InputSpec(24, 24, 3, "stretch", slices=3, slice_step_mm=step_mm)
    prepared = prepare(ct_volume.slice(at), spec)
    shown = prepared.tensor[0].double().numpy()
    weight = RNG.normal(size=shown.shape)

    def hidden(number: int, boxes: np.ndarray, channels: tuple[int, int] | None) -> np.ndarray:
        assert number == 0
        assert channels is not None
        inside = set(range(*channels))
        copies = [(c, d) for c in inside for d in set(range(3)) - inside if np.array_equal(shown[c], shown[d])]
        assert not copies, "what is hidden is still seen in another channel"
        left = []
        for top, row, height, width in boxes:
            one = shown.copy()
            one[slice(*channels), top : top + height, row : row + width] = 0
            left.append([(one * weight).sum()])
        return np.array(left)

    grid = VolumeGrid.of(ct_volume, spec, range(7), at)
    params = VOLUME_OCCLUSION.resolve({"coarse": 1, "finest": 0.5, "passes": 20_000})
    clean = np.array([[(shown * weight).sum()]])
    laid = grid.laid(occlude(grid, clean, hidden, ONE, params, RunContext()).values[0])

    expected = np.zeros((7, 24, 24))  # by slice of the volume: every cell was hidden alone
    for channel in range(3):
        place = min(max(at + (channel - 1) * step_mm / 1.5, 0), 6)
        for index in range(7):
            expected[index] += max(0, 1 - abs(place - index)) * (shown * weight)[channel]
    first = int(grid.to_image[2, 3])
    assert grid.to_image[2, 2] == 1
    assert 0 <= first <= first + len(laid) - 1 <= 6  # not outside the volume
    cell_ml = 0.7 * 0.8 * 1.5 / 1000 * (50 / 24) * (40 / 24)
    found = np.zeros_like(expected)
    found[first : first + len(laid)] = np.nan_to_num(laid) * cell_ml
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert found.sum() == pytest.approx((shown * weight).sum(), rel=1e-5)
    assert np.isnan(laid).all(axis=(1, 2)).tolist() == [not expected[first + row].any() for row in range(len(laid))]


def test_what_cannot_be_hidden_in_blocks_is_refused_in_one_sentence(ct_volume: Image) -> None:
    spec = InputSpec(32, 32)
    with pytest.raises(ExplainError, match="needs a volume"):
        VolumeGrid.of(ct_volume.slice(0), spec, range(1), 0)
    bare = Image(ct_volume.values, "HU", Modality.CT)
    with pytest.raises(ExplainError, match="needs the spacing in mm"):
        VolumeGrid.of(bare, spec, range(7), 0)


def test_padding_is_not_hidden_and_a_cell_has_its_true_volume(ct_volume: Image) -> None:
    sheared = ct_volume.geometry.affine.copy()
    sheared[0, 2] = 0.6  # a tilted gantry
    image = Image(ct_volume.values, "HU", Modality.CT, Geometry(sheared))
    grid = VolumeGrid.of(image, InputSpec(64, 64), range(0, 7, 2), 3)
    assert grid.shape == (4, 64, 64)
    # 50 x 0.7 = 35 mm wide, 40 x 0.8 = 32 mm high: a letterbox of 64 x 64 pads above and below.
    assert grid.columns == (0, 64)
    assert (grid.rows[1] - grid.rows[0]) * grid.pitch_mm[1] == pytest.approx(32, abs=0.6)
    seen_ml = np.prod([grid.shape[0], grid.rows[1] - grid.rows[0], 64]) * grid.cell_ml
    assert seen_ml == pytest.approx(35 * 32 * 1.5 * 8 / 1000, rel=0.02)
