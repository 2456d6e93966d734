"""Losses against other libraries, or against their formulas written out in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import sigmoid_focal_loss

from models.training.losses import BETA, LOSSES

Array = NDArray[np.float64]


@pytest.fixture
def several() -> tuple[torch.Tensor, torch.Tensor]:
    """(64, 5) logits and labels of classes that may hold together."""
    draw = torch.Generator().manual_seed(3)
    shares = torch.tensor([0.02, 0.1, 0.3, 0.5, 0.9])
    return torch.randn(64, 5, generator=draw) * 2, (torch.rand(64, 5, generator=draw) < shares).float()


@pytest.fixture
def one() -> tuple[torch.Tensor, torch.Tensor]:
    """(64, 4) logits and one-hot labels, the first class rare."""
    draw = torch.Generator().manual_seed(4)
    classes = torch.multinomial(torch.tensor([0.05, 0.15, 0.3, 0.5]), 64, replacement=True, generator=draw)
    return torch.randn(64, 4, generator=draw) * 2, torch.nn.functional.one_hot(classes, 4).float()


def _softmax_entropy(logits: Array, labels: Array, weight: Array, smoothing: float = 0.05) -> float:
    """As torch defines it: smoothed targets, each term weighted by its class, over the summed weights of the truth."""
    log_p = logits - logits.max(1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
    smooth = labels * (1 - smoothing) + smoothing / labels.shape[1]
    return float(-(smooth * weight * log_p).sum(1).mean())


def _sigmoid_entropy(logits: Array, labels: Array, weight: Array) -> float:
    p = 1 / (1 + np.exp(-logits))
    return float(-(weight * labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean())


def _double(*tensors: torch.Tensor) -> list[Array]:
    return [tensor.double().numpy() for tensor in tensors]


@pytest.mark.parametrize("name", ["cross-entropy", "weighted", "root-weighted", "effective-number"])
def test_weighted_entropies_of_exclusive_classes(name: str, one: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = _double(*one)
    count = labels.sum(0)
    weight = {
        "cross-entropy": np.ones(4),
        "weighted": len(labels) / count,
        "root-weighted": np.sqrt(len(labels) / count),
        "effective-number": (1 - BETA) / (1 - BETA**count),
    }[name]
    found = LOSSES[name](one[1], True)(*one).item()
    assert found == pytest.approx(_softmax_entropy(logits, labels, weight / weight.mean()), rel=1e-5)


@pytest.mark.parametrize("name", ["cross-entropy", "weighted", "root-weighted", "effective-number"])
def test_weighted_entropies_of_classes_that_hold_together(
    name: str, several: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logits, labels = _double(*several)
    present, absent = np.maximum(labels.sum(0), 1), (1 - labels).sum(0)
    weight = {
        "cross-entropy": np.ones(5),
        "weighted": absent / present,
        "root-weighted": np.sqrt(absent / present),
        "effective-number": (1 - BETA**absent) / (1 - BETA**present),
    }[name]
    found = LOSSES[name](several[1], False)(*several).item()
    assert found == pytest.approx(_sigmoid_entropy(logits, labels, weight), rel=1e-4)


def test_sigmoid_focal_equals_torchvisions(several: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = sigmoid_focal_loss(*several, alpha=-1, gamma=2, reduction="mean").item()
    assert LOSSES["focal"](several[1], False)(*several).item() == pytest.approx(expected, rel=1e-6)


def test_softmax_focal_is_the_formula(one: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = _double(*one)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    own = p[labels.astype(bool)]
    assert LOSSES["focal"](one[1], True)(*one).item() == pytest.approx(-((1 - own) ** 2 * np.log(own)).mean(), rel=1e-5)


def test_logit_adjustment_moves_by_the_log_prior(one: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = _double(*one)
    moved = logits + np.log(labels.mean(0))
    found = LOSSES["logit-adjusted"](one[1], True)(*one).item()
    assert found == pytest.approx(_softmax_entropy(moved, labels, np.ones(4)), rel=1e-5)


def test_dice_of_a_known_overlap() -> None:
    truth = torch.zeros(2, 1, 4, 4)
    truth[0, 0, :2] = 1  # the second picture holds nothing
    logits = torch.full((2, 1, 4, 4), -20.0)
    logits[0, 0, 1:3] = 20.0  # half of the truth, and as much again
    loss = LOSSES["dice"](torch.ones(2, 1), False)(logits, truth).item()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).item()
    assert loss - entropy == pytest.approx(((1 - (2 * 4 + 1) / (16 + 1)) + 0) / 2, abs=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_better_answer_costs_less(name: str) -> None:
    labels = torch.eye(3)[[0, 1, 2, 0]]
    truth = labels[:, :, None, None].expand(-1, -1, 4, 4) if name == "dice" else labels
    loss = LOSSES[name](labels, name != "dice")
    costs = [loss(strength * (2 * truth - 1), truth).item() for strength in (-2.0, 0.0, 1.0, 2.0)]
    assert costs == sorted(costs, reverse=True)
