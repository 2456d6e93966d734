"""Saliency, SmoothGrad, integrated gradients and GradientSHAP: closed forms, completeness, captum called directly."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel, Saliency
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from models.errors import ExplainError
from models.types import Target
from tests.explainers.support import (
    BLACK,
    SIZE,
    assert_close_to_range,
    explain,
    linear_net,
    logit,
    prepared_input,
    smooth_net,
)

IMAGE = prepared_input().tensor[0].double().numpy()
START = {
    "black": np.broadcast_to(np.array(BLACK)[:, None, None], IMAGE.shape),
    "mean": np.zeros_like(IMAGE),
    "blurred": gaussian_filter(IMAGE, (0, 0.1 * SIZE, 0.1 * SIZE), mode="nearest"),
}


class Quadratic(nn.Module):
    """score = sum(a x^2) / 2: the gradient is a x, and integrated gradients are a (x^2 - x'^2) / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.curve = nn.Parameter(torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)))

    def forward(self, image: Tensor) -> Tensor:
        score = (self.curve * image**2).flatten(1).sum(dim=1, keepdim=True) / 2
        return torch.cat([score, -score], dim=1)


CURVE = Quadratic().curve.detach().double().numpy()


@pytest.mark.parametrize("method", ["saliency", "smooth-grad"])
def test_the_gradient_of_a_linear_score_is_its_weight(method: str) -> None:
    net = linear_net()
    (found,) = explain(method, net, prepared_input(), logit(1))
    np.testing.assert_allclose(found.values, net.weight(1), rtol=1e-5, atol=1e-9)
    (contrast,) = explain(method, net, prepared_input(), Target("a", 0, "contrast", "softmax", "b", 1))
    np.testing.assert_allclose(contrast.values, net.weight(0) - net.weight(1), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("kind", START)
@pytest.mark.parametrize("rule", ["until converged", "Gauss-Legendre", "midpoint"])
def test_integrated_gradients_of_a_linear_score(kind: str, rule: str) -> None:
    net = linear_net()
    (found,) = explain("integrated-gradients", net, prepared_input(), logit(1), baseline=kind, rule=rule)
    assert_close_to_range(found.values, net.weight(1) * (IMAGE - START[kind]))
    assert abs(found.completeness_error) < 1e-4


@pytest.mark.parametrize("kind", START)
def test_gradient_shap_of_a_linear_score(kind: str) -> None:
    """Without spread every draw is the baseline itself, and a linear score has one gradient."""
    net = linear_net()
    (found,) = explain("gradient-shap", net, prepared_input(), logit(1), baseline=kind, spread=0)
    assert_close_to_range(found.values, net.weight(1) * (IMAGE - START[kind]))
    assert abs(found.completeness_error) < 1e-4


def test_gradient_shap_mixes_its_three_baselines_evenly() -> None:
    net = linear_net()
    (found,) = explain("gradient-shap", net, prepared_input(), baseline="mixed", spread=0, samples=1000)
    expected = net.weight(0) * (IMAGE - sum(START.values()) / 3)
    error = np.linalg.norm(found.values - expected) / np.linalg.norm(expected)
    assert 0 < error < 0.1  # the shares of 1,000 draws, each within 0.015 or so of a third


def test_integrated_gradients_of_a_quadratic_score() -> None:
    (found,) = explain("integrated-gradients", Quadratic().eval(), prepared_input(), steps=9)
    assert_close_to_range(found.values, CURVE * (IMAGE**2 - START["black"] ** 2) / 2)


def test_smooth_grad_of_a_quadratic_score_has_the_noise_it_says() -> None:
    """The gradient is a (x + e): over n samples the mean of e has standard deviation noise * range / sqrt(n)."""
    (found,) = explain("smooth-grad", Quadratic().eval(), prepared_input(), samples=200, noise=0.3)
    residual = found.values / CURVE - IMAGE
    expected = 0.3 * np.ptp(IMAGE) / np.sqrt(200)
    assert residual.std() == pytest.approx(expected, rel=0.06)
    assert abs(residual.mean()) < 4 * expected / np.sqrt(residual.size)


def test_smooth_grad_without_noise_is_saliency() -> None:
    net, prepared = smooth_net(), prepared_input()
    (smooth,), (plain,) = explain("smooth-grad", net, prepared, noise=0), explain("saliency", net, prepared)
    assert_close_to_range(smooth.values, plain.values)


@pytest.mark.parametrize("kind", START)
def test_completeness_of_integrated_gradients_on_a_smooth_network(kind: str) -> None:
    net = smooth_net()
    (found,) = explain(
        "integrated-gradients", net, prepared_input(), logit(2), baseline=kind, steps=200, rule="Gauss-Legendre"
    )
    double = copy.deepcopy(net).double()
    with torch.no_grad():
        end, start = (float(double(torch.tensor(x)[None])[0, 2]) for x in (IMAGE, START[kind].copy()))
    assert abs(end - start) > 0.01
    assert found.values.sum(dtype=float) == pytest.approx(end - start, rel=1e-3)
    assert abs(found.completeness_error) < 1e-3
    assert float(found.facts["score"]) == pytest.approx(end, rel=1e-3)
    assert float(found.facts["baseline score"]) == pytest.approx(start, rel=1e-3)


def test_the_completeness_error_is_the_difference_relative_to_the_score_difference() -> None:
    net = Wavy().eval()
    (found,) = explain("integrated-gradients", net, prepared_input(), steps=9, rule="midpoint")
    difference = float(found.facts["score"]) - float(found.facts["baseline score"])
    expected = (found.values.sum(dtype=float) - difference) / abs(difference)
    assert abs(expected) > 1e-3
    assert found.completeness_error == pytest.approx(expected, abs=2e-3)


def test_completeness_of_gradient_shap_within_its_sampling_error() -> None:
    (found,) = explain("gradient-shap", smooth_net(), prepared_input(), samples=600)
    assert abs(found.completeness_error) < 0.1


def test_saliency_equals_captums() -> None:
    net, image = smooth_net(), prepared_input().tensor.requires_grad_()
    expected = Saliency(net).attribute(image, target=2, abs=False)
    (found,) = explain("saliency", net, prepared_input(), logit(2))
    assert_close_to_range(found.values, expected[0].detach().numpy())
    assert found.values.min() < 0


@pytest.mark.parametrize(("rule", "name"), [("Gauss-Legendre", "gausslegendre"), ("midpoint", "riemann_middle")])
def test_integrated_gradients_equal_captums_in_one_go(rule: str, name: str) -> None:
    net, image = smooth_net(), prepared_input().tensor
    black = torch.tensor(BLACK).view(1, 3, 1, 1).expand_as(image)
    expected = IntegratedGradients(net).attribute(image, black, target=1, n_steps=11, method=name)
    (found,) = explain("integrated-gradients", net, prepared_input(), logit(1), rule=rule)
    assert_close_to_range(found.values, expected[0].detach().numpy())


def test_smooth_grad_and_gradient_shap_agree_with_captums_own_sampling() -> None:
    """Other random numbers, the same expectation: two estimates differ by no more than two of captum's own do."""
    net, image, samples = smooth_net(), prepared_input().tensor, 400
    black = torch.tensor(BLACK).view(1, 3, 1, 1).expand_as(image)
    deviation = 0.15 * float(image.max() - image.min())

    def smooth(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        tunnel = NoiseTunnel(Saliency(net))
        return tunnel.attribute(image, nt_samples=samples, stdevs=deviation, target=1, abs=False)[0].detach().numpy()

    def shap(seed: int) -> np.ndarray:
        np.random.seed(seed)  # noqa: NPY002
        return GradientShap(net).attribute(image, black, n_samples=samples, target=1)[0].detach().numpy()

    own = {
        smooth: explain("smooth-grad", net, prepared_input(), logit(1), samples=samples),
        shap: explain("gradient-shap", net, prepared_input(), logit(1), samples=samples, baseline="black", spread=0),
    }
    for captum, (found,) in own.items():
        one, two = captum(0), captum(1)
        between = np.linalg.norm(one - two)
        assert 0 < np.linalg.norm(found.values - one) < 1.5 * between + 0.02 * np.linalg.norm(one)
        assert np.corrcoef(found.values.ravel(), one.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        ("integrated-gradients", {"steps": 1}, "between 9 and 1000"),
        ("integrated-gradients", {"baseline": "zero"}, "one of black, blurred, mean"),
        ("gradient-shap", {"baseline": "noise"}, "one of mixed, black, blurred, mean"),
        ("smooth-grad", {"noise": -0.1}, "between 0 and 1"),
        ("saliency", {"steps": 5}, "no parameter 'steps'"),
    ],
)
def test_bad_settings_are_refused(method: str, given: dict, sentence: str) -> None:
    with pytest.raises(ExplainError, match=sentence):
        explain(method, smooth_net(), prepared_input(), **given)


class Wavy(nn.Module):
    """score 0 bends often between the baseline and the image, score 1 not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) / 50)

    def forward(self, image: Tensor) -> Tensor:
        straight = (self.weight * image).flatten(1).sum(dim=1)
        return torch.stack([torch.sin(9 * straight), straight], dim=1)


def test_refinement_goes_on_until_the_map_has_settled_for_each_target() -> None:
    bent, straight = explain("integrated-gradients", Wavy().eval(), prepared_input(), logit(0), logit(1), steps=513)
    assert straight.facts["points"] == "9"  # the first that can be compared with the one before
    assert int(bent.facts["points"]) > 17
    assert bent.facts["converged"] == straight.facts["converged"] == "yes"
    (exact,) = explain("integrated-gradients", Wavy().eval(), prepared_input(), rule="Gauss-Legendre", steps=800)
    assert np.linalg.norm(bent.values - exact.values) < 0.05 * np.linalg.norm(exact.values)


def test_a_map_that_has_not_settled_says_so() -> None:
    (found,) = explain("integrated-gradients", Wavy().eval(), prepared_input(), steps=9)
    assert (found.facts["points"], found.facts["converged"]) == ("9", "no")
    assert float(found.facts["change at the last doubling"].rstrip("%")) > 5


@pytest.mark.parametrize("most", [9, 17, 33])
def test_refinement_is_the_trapezoidal_rule(most: int) -> None:
    """Re-derived point by point in float64; a change of 5 % is out of reach, so that the most points are used."""
    net = Wavy().eval()
    (found,) = explain("integrated-gradients", net, prepared_input(), steps=most)
    weight = net.weight.detach().double().numpy()
    total = np.zeros_like(IMAGE)
    for place in range(most):
        point = START["black"] + place / (most - 1) * (IMAGE - START["black"])
        gradient = 9 * np.cos(9 * (weight * point).sum()) * weight
        total += gradient * (0.5 if place in (0, most - 1) else 1.0) / (most - 1)
    if found.facts["points"] == str(most):
        assert_close_to_range(found.values, total * (IMAGE - START["black"]), 1e-4)
    assert found.facts["points"] == str(most)
