"""Stability of maps whose answer to small changes is known, and completeness as methods report it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr, t
from torch import Tensor, nn

from explainers.passes import Passes
from explainers.quality import _intervals, _ranks
from explainers.quality._order import Blocks
from explainers.quality.completeness import Completeness
from explainers.quality.stability import CHANGES, KINDS, MOST, Stability, _changed
from explainers.quality.types import Subject
from models.card import read_card
from models.context import RunContext
from models.types import Target
from tests.explainers.quality.subjects import (
    CORNER,
    MIDDLE,
    SIZE,
    BlindNet,
    RegionNet,
    evidence,
    final,
    marks,
    picture,
    subject_of,
)

ROUGH = np.random.default_rng(3).standard_normal((SIZE, SIZE)).astype(np.float32)
CHEAP = {"method": "grad-cam", "params": {"layer": ""}}


def test_a_map_that_stays_is_ok() -> None:
    verdict = final(Stability(), evidence(subject_of(RegionNet(MIDDLE)), ROUGH, **CHEAP))
    # One that does not move with the picture differs from itself after a shift by 1 px, which is taken back.
    assert verdict.value is not None
    assert verdict.n == len(CHANGES)
    still = [float(value) for name, value in verdict.facts.items() if "shift" not in name]
    assert still == [1.0] * 6


def test_a_map_that_follows_the_picture_is_ok() -> None:
    subject = subject_of(RegionNet(MIDDLE))
    smooth = nn.AvgPool2d(5, stride=1, padding=2)

    def again(tensor: Tensor) -> np.ndarray:
        return np.asarray(smooth(tensor)[0, 0])

    verdict = final(Stability(), evidence(subject, again(subject.prepared.tensor), again, **CHEAP))
    assert verdict.level == "ok"
    assert verdict.low is not None
    assert float(verdict.facts["shift by 1 px to the right"]) > 0.95


def test_a_map_drawn_at_random_fails_in_whatever_network() -> None:
    draw = np.random.default_rng(0)
    again = lambda _: draw.standard_normal((SIZE, SIZE))  # noqa: E731
    for module in (RegionNet(CORNER), BlindNet()):
        verdict = final(Stability(), evidence(subject_of(module), ROUGH, again, **CHEAP))
        assert verdict.level == "fails"
        assert verdict.value == pytest.approx(0, abs=0.1)


class Brightness(nn.Module):
    """Its probability changes at once with the picture's brightness, and hardly with anything else."""

    def __init__(self, middle: float) -> None:
        super().__init__()
        self.middle = middle

    def forward(self, image: Tensor) -> Tensor:
        found = 30 * (image.mean(dim=(1, 2, 3)) - self.middle)
        return torch.stack([found, -found], dim=1)


def test_changes_that_move_the_score_are_left_out_and_counted() -> None:
    prepared = picture()
    module = Brightness(float(prepared.tensor.mean()))
    verdict = final(Stability(), evidence(subject_of(module, prepared), ROUGH, **CHEAP))
    left_out = [name for name in verdict.facts if name.startswith("left out")]
    assert {"left out: brightness + 3 %", "left out: brightness - 3 %"} <= set(left_out)
    assert verdict.n == len(CHANGES) - len(left_out)
    assert all(name.removeprefix("left out: ") not in verdict.facts for name in left_out)


class Nervous(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        found = 1e3 * (image * torch.arange(SIZE).cos()).sum(dim=(1, 2, 3))
        return torch.stack([10 * found.sin(), found], dim=1)


def test_a_decision_that_is_not_stable_itself_is_not_assessable() -> None:
    verdict = final(Stability(), evidence(subject_of(Nervous()), ROUGH, **CHEAP))
    assert verdict.level == "not assessable"
    assert "decision itself" in verdict.sentence
    assert f"{100 * MOST:.0f} points" in verdict.sentence


def test_slow_methods_meet_each_kind_of_change_once_and_the_cost_is_told() -> None:
    subject = subject_of(RegionNet(MIDDLE))
    slow = {"method": "integrated-gradients", "params": {"steps": 33, "rule": "until converged"}}
    first = evidence(subject, ROUGH, **slow)
    assert Stability().cost(first) == KINDS * 33 * 3 + len(CHANGES)
    assert final(Stability(), first).n == KINDS
    assert Stability().cost(evidence(subject, marks(MIDDLE), **CHEAP)) == len(CHANGES)


def test_a_map_without_contrast_is_not_assessable() -> None:
    assert final(Stability(), evidence(subject_of(RegionNet(MIDDLE)), 0 * ROUGH)).level == "not assessable"


def test_changes_are_small_repeatable_and_spare_the_padding() -> None:
    inside = np.zeros((SIZE, SIZE), dtype=bool)
    inside[5:, :-4] = True
    changed = [
        [_changed(subject_of(BlindNet(), seen=inside, seed=seed), number) for number in range(len(CHANGES))]
        for seed in (1, 1)
    ]
    image = picture().tensor
    extent = float(image.max() + 2)
    for one, again, change in zip(*changed, CHANGES, strict=True):
        assert torch.equal(one, again)
        assert torch.equal(one[:, :, ~inside], image[:, :, ~inside])
        difference = float((one - image).pow(2).mean().sqrt()) / extent
        assert 0 < difference < (0.2 if "shift" in change.name else 0.04), change.name


def test_ranks_are_those_of_scipy_on_block_means() -> None:
    draw = np.random.default_rng(0)
    one, two = draw.standard_normal((2, 66, 48))
    two = np.round(two + one)  # ties
    subject = subject_of(BlindNet(), picture(size=48))
    subject.seen = np.ones((66, 48), dtype=bool)
    blocks = _ranks.cells(subject)
    assert blocks.count == 22 * 16
    means = [values.reshape(22, 3, 16, 3).mean(axis=(1, 3)).ravel() for values in (one, two)]
    ranks = [_ranks.ranks(values, blocks) for values in (one, two)]
    assert ranks[0] is not None
    assert ranks[1] is not None
    assert _ranks.correlation(*ranks) == pytest.approx(spearmanr(*means).statistic)
    assert _ranks.ranks(np.full((66, 48), 7e8), blocks) is None


def test_the_interval_over_the_picture_covers_the_truth() -> None:
    blocks = Blocks.cut(np.ones((30, 30), dtype=bool), 1)
    inside = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        shared, one, two = draw.standard_normal((3, 900))
        pairs = [(rankdata(shared + one), rankdata(shared + two))]
        low, high, tiles = _ranks.over_picture(pairs, blocks, seed)
        inside += low <= 6 / np.pi * np.arcsin(0.25) <= high  # of two normal variables correlated by a half
    assert tiles == 36
    assert 51 <= inside <= 60


def test_students_interval() -> None:
    values = [0.2, 0.5, 0.4, 0.1]
    expected = t.interval(0.95, 3, np.mean(values), np.std(values, ddof=1) / 2)
    assert _intervals.of_mean(values) == pytest.approx((0.3, *expected))
    assert _intervals.of_mean([0.1, 0.3]) == (0.2, None, None)


@pytest.mark.parametrize(
    ("error", "converged", "level"),
    [
        (0.01, "yes", "ok"),
        (-0.01, "no", "weak"),
        (0.1, "yes", "weak"),
        (-0.4, "no", "fails"),
        (None, "yes", "not assessable"),
    ],
)
def test_completeness(error: float | None, converged: str, level: str) -> None:
    given = evidence(
        subject_of(BlindNet()), ROUGH, completeness_error=error, facts={"converged": converged, "score": "1.2"}
    )
    verdict = final(Completeness(), given)
    assert verdict.level == level
    assert verdict.value == (None if error is None else pytest.approx(100 * abs(error)))
    if error is not None:
        assert verdict.facts == {"score": "1.2", "converged": converged}


def test_slices_are_changed_as_pictures_of_their_own(make_model: Callable[..., Path]) -> None:
    """Through JPEG as one colour picture, or with the first slice for all, neighbouring slices would be mixed."""
    size = {"height": SIZE, "width": SIZE, "slices": 3, "modality": ["ct"]}
    card = read_card(make_model(folder="slices", id="slices", input=size | {"window": {"center": 0, "width": 100}}))
    tensor = torch.from_numpy(np.random.default_rng(1).random((1, 3, SIZE, SIZE)).astype(np.float32))
    given = replace(picture(), tensor=tensor, black=torch.zeros(3), mean=torch.zeros(3))
    subject = Subject(given, Target("A", 0), Passes(RegionNet(MIDDLE), RunContext()), card=card)
    number = next(k for k, change in enumerate(CHANGES) if "JPEG" in change.name)
    moved = (_changed(subject, number) - tensor)[0].numpy()
    low, high = tensor.numpy().min(axis=(0, 2, 3)), tensor.numpy().max(axis=(0, 2, 3))
    for k in range(3):
        alone = CHANGES[number].make(
            (tensor.numpy()[0, k : k + 1] - low.min()) / (high.max() - low.min()), np.random.default_rng(0)
        )
        assert np.abs(moved[k]).max() < 0.5
        assert np.std(moved[k]) == pytest.approx(
            np.std(alone[0] * (high.max() - low.min()) + low.min() - tensor.numpy()[0, k]), rel=0.3
        )
