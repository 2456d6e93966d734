"""Deletion, insertion and ROAD: curves against slow ones and torchcam's, verdicts on networks whose truth is known."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchcam.metrics import DeletionInsertionMetric

from explainers.methods._baselines import baseline
from explainers.quality import _controls
from explainers.quality._imputation import impute
from explainers.quality._order import Blocks
from explainers.quality.faithfulness import Faithfulness
from explainers.quality.road import NOISE, Road
from explainers.quality.types import Check
from models.context import RunContext
from models.errors import Cancelled
from tests.explainers.quality.subjects import (
    CORNER,
    MIDDLE,
    SIZE,
    BlindNet,
    LinearNet,
    RegionNet,
    evidence,
    final,
    marks,
    picture,
    subject_of,
)

CHECKS: tuple[Check, ...] = (Faithfulness(), Road())
IDS = ["deletion and insertion", "ROAD"]


def soft(place: tuple[slice, slice]) -> np.ndarray:
    return gaussian_filter(marks(place), 2)


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_a_perfect_map_is_ok_and_says_what_it_beats(check: Check) -> None:
    verdict = final(check, evidence(subject_of(RegionNet(CORNER)), soft(CORNER)))
    assert verdict.level == "ok"
    assert verdict.value is not None
    assert verdict.value > 0.2
    assert verdict.low is not None
    assert verdict.low <= verdict.value <= verdict.high  # type: ignore[operator]
    assert verdict.n == 4
    assert verdict.facts["best control"] in verdict.sentence
    for name in (*check.names, *(f"{one}, {control}" for one in check.names for control in _controls.WORDS)):  # type: ignore[attr-defined]
        assert verdict.curves[name].shape == verdict.curves["share"].shape


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_a_shortcut_is_not_covered_up_by_a_plausible_map(check: Check) -> None:
    """The network looks at the corner; the map points at the middle, as a reader would expect."""
    verdict = final(check, evidence(subject_of(RegionNet(CORNER)), soft(MIDDLE)))
    assert verdict.level == "fails"
    assert verdict.value is not None
    assert verdict.value < 0


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
@pytest.mark.parametrize("place", [CORNER, MIDDLE], ids=["corner", "middle"])
def test_an_edge_detector_posing_as_a_map_fails(check: Check, place: tuple[slice, slice]) -> None:
    subject = subject_of(RegionNet(place))
    verdict = final(check, evidence(subject, 5 * _controls.edges(subject)))
    assert verdict.level == "fails"
    assert verdict.value is not None
    assert verdict.value <= 0


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_a_blob_in_the_middle_fails_even_when_the_evidence_lies_there(check: Check) -> None:
    subject = subject_of(RegionNet(MIDDLE))
    assert final(check, evidence(subject, _controls.centre(subject))).level == "fails"


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_no_map_of_a_network_that_ignores_its_input_is_believed(check: Check) -> None:
    verdict = final(check, evidence(subject_of(BlindNet()), soft(MIDDLE)))
    assert verdict.level == "fails"
    assert "whatever is hidden" in verdict.sentence
    assert verdict.value is None


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_a_map_without_contrast_is_not_assessable(check: Check) -> None:
    assert final(check, evidence(subject_of(RegionNet(MIDDLE)), np.full((SIZE, SIZE), 0.3))).level == "not assessable"


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_verdicts_do_not_depend_on_scale_and_repeat_exactly(check: Check) -> None:
    values = soft(CORNER) + 0.1 * np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    first, again, scaled = (
        final(check, evidence(subject_of(RegionNet(CORNER)), factor * values)) for factor in (1, 1, 1024)
    )
    assert first.value == again.value == scaled.value
    assert (first.low, first.high) == (scaled.low, scaled.high)


def counting(module: torch.nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    return seen


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_controls_are_passed_once_for_all_maps_and_the_cost_is_told(check: Check) -> None:
    module = RegionNet(CORNER)
    seen = counting(module)
    subject = subject_of(module)
    counts = []
    for place in (CORNER, MIDDLE):
        given = evidence(subject, soft(place))
        told, before = check.cost(given), sum(map(len, seen))
        final(check, given)
        counts.append(sum(map(len, seen)) - before)
        assert counts[-1] == pytest.approx(
            told, abs=6
        )  # the ends of the curves and the whole picture hidden, shared by all
    assert counts[1] < 0.6 * counts[0]


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_what_is_not_image_is_never_touched_and_memory_is_bounded(check: Check) -> None:
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    inside[4:, 2:30] = True
    module = RegionNet(MIDDLE)
    seen = counting(module)
    subject = subject_of(module, seen=inside)
    final(check, evidence(subject, soft(MIDDLE)))
    image = subject.prepared.tensor
    assert max(map(len, seen)) <= subject.passes.windows
    for batch in seen:
        assert torch.equal(batch[:, :, ~inside], image[:, :, ~inside].expand(len(batch), -1, -1))


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_it_can_be_stopped(check: Check) -> None:
    ctx = RunContext()
    module = RegionNet(CORNER)
    module.register_forward_pre_hook(lambda _, given: ctx.tick(len(given[0])))
    verdicts = check.run(evidence(subject_of(module, ctx=ctx), soft(CORNER)))
    assert not next(verdicts).final
    ctx.cancel()
    with pytest.raises(Cancelled):
        list(verdicts)


def test_blocks_are_ranked_by_their_means() -> None:
    draw = np.random.default_rng(0)
    values, seen = draw.standard_normal((13, 18)), draw.random((13, 18)) < 0.9
    blocks = Blocks.cut(seen, 4, (1, 3))
    means: dict[tuple[int, int], list[float]] = {}
    for row, column in np.argwhere(seen):
        means.setdefault(((row + 1) // 4, (column + 3) // 4), []).append(values[row, column])
    expected = [
        row * 18 + column
        for place in sorted(means, key=lambda place: -np.mean(means[place]))
        for row, column in np.argwhere(seen)
        if ((row + 1) // 4, (column + 3) // 4) == place
    ]
    order = blocks.order(values, 0)
    assert order.tolist() == expected
    half = blocks.first(order, np.array([0.5]))[0]
    assert set(np.flatnonzero(half)) == set(expected[: round(len(expected) / 2)])


def test_equal_blocks_go_in_random_order() -> None:
    blocks = Blocks.cut(np.ones((8, 8), dtype=bool), 2)
    orders = {tuple(blocks.order(np.zeros((8, 8)), seed)) for seed in range(5)}
    assert len(orders) == 5


def test_the_random_map_is_as_smooth_and_another() -> None:
    values = soft(CORNER)
    other = _controls.as_smooth(values, 1)
    ours, theirs = (np.abs(np.fft.rfft2(one)) for one in (values, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * ours.max())
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.6


def linear() -> tuple[LinearNet, np.ndarray]:
    weight = torch.from_numpy(np.random.default_rng(7).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32))
    return LinearNet(weight), weight[0].double().numpy()


def test_curves_of_a_linear_network_have_a_closed_form() -> None:
    """score = w x; hiding a pixel takes w (x - fill) away."""
    module, weight = linear()
    check, subject = Faithfulness(), subject_of(module)
    image = subject.prepared.tensor[0].double().numpy()
    for repeat, kind in enumerate(("blurred", "mean")):
        fill = baseline(subject.prepared, kind)[0].double().numpy()
        effect = (weight * (image - fill)).sum(axis=0)
        order = check.blocks(subject, repeat).order(effect, 0)
        gone = np.concatenate([[0.0], np.cumsum(effect.ravel()[order])])[:: SIZE * SIZE // 8]
        (found,) = check.curves(subject, repeat, [order])
        np.testing.assert_allclose(found[0], (weight * image).sum() - gone, atol=1e-3)
        np.testing.assert_allclose(found[1], (weight * fill).sum() + gone, atol=1e-3)
        steps = [(one + two) / 2 / 8 for one, two in pairwise(found[1] - found[0])]
        assert check.area(found) == pytest.approx(sum(steps))


def test_the_exact_effects_of_a_linear_network_are_ok_and_turned_round_they_fail() -> None:
    _, weight = linear()
    effect = np.kron(weight.sum(axis=0)[:8, :8], np.ones((4, 4)))
    subject = subject_of(LinearNet(torch.from_numpy(np.repeat(effect[None, None], 3, axis=1).astype(np.float32))))
    exact = effect * subject.prepared.tensor[0, 0].numpy()
    assert final(Faithfulness(), evidence(subject, exact)).level == "ok"
    assert final(Faithfulness(), evidence(subject, -exact)).level == "fails"


class _Extractor:
    """What torchcam's metric asks of its extractors."""

    def __init__(self, module: torch.nn.Module, values: Tensor) -> None:
        self.model, self._values = module, values

    def __call__(self, class_idx: object, scores: Tensor, **_: object) -> list[Tensor]:
        return [self._values[None]]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> nullcontext[None]:
        return nullcontext()


def test_areas_are_those_of_torchcam() -> None:
    module, _ = linear()
    check, subject = Faithfulness(), subject_of(module)
    values = np.kron(np.random.default_rng(1).permutation(256).reshape(16, 16), np.ones((2, 2))).astype(np.float32)
    metric = DeletionInsertionMetric(
        _Extractor(module, torch.from_numpy(values)), steps=8, baseline=baseline(subject.prepared, "blurred")
    )
    metric.update(subject.prepared.tensor, class_idx=0)
    theirs = metric.summary()
    (found,) = check.curves(subject, 0, [check.blocks(subject, 0).order(values, 0)])
    ours = np.trapezoid(found, check.shares, axis=1)
    assert ours == pytest.approx([theirs["deletion_auc"], theirs["insertion_auc"]], rel=1e-4)


def test_road_removes_what_each_order_says() -> None:
    module, weight = linear()
    check, subject = Road(), subject_of(module)
    image = subject.prepared.tensor[0].numpy()
    values = soft(CORNER)
    order = check.blocks(subject, 1).order(values, 0)
    (found,) = check.curves(subject, 1, [order])
    for one, pixels in zip(found, (order, order[::-1]), strict=True):
        for score, share in zip(one, check.shares, strict=True):
            missing = np.zeros(SIZE * SIZE, dtype=bool)
            missing[pixels[: round(share * SIZE * SIZE)]] = True
            guessed = impute(image, missing.reshape(SIZE, SIZE)).astype(np.float64)
            noise = NOISE * np.sqrt(3 * missing.sum())  # of the score: independent, weights of variance 1
            assert score == pytest.approx((weight * guessed).sum(), abs=4 * noise)


def test_road_shows_the_blurred_map_beside_it() -> None:
    draw = np.random.default_rng(5)
    rough = soft(CORNER) + 0.3 * draw.standard_normal((SIZE, SIZE)).astype(np.float32)
    verdict = final(Road(), evidence(subject_of(RegionNet(CORNER), picture(2)), rough))
    assert "the map itself, blurred" in verdict.facts
    assert "most relevant first, the map itself, blurred" in verdict.curves
    assert verdict.facts["best control"] in _controls.WORDS.values()


@pytest.mark.parametrize("check", CHECKS, ids=IDS)
def test_evidence_against_a_class_is_no_evidence_for_it(check: Check) -> None:
    """Hidden, the picture's one mark no longer lowers the score: nothing that is hidden can show what speaks for the class."""

    class Against(RegionNet):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image).flip(1)

    verdict = final(check, evidence(subject_of(Against(CORNER)), -soft(CORNER)))
    assert verdict.level == "not assessable"
    assert "rises by" in verdict.sentence
    assert verdict.value is None
    assert verdict.curves[check.names[0]].shape == verdict.curves["share"].shape  # type: ignore[attr-defined]
