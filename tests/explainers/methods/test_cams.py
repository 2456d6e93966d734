"""The class activation maps against the formulas of their papers, in float64 and with plain autograd."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explainers.project import layer_to_input
from models.errors import ExplainError
from models.types import Target
from tests.explainers.support import SIZE, assert_close_to_range, explain, logit, prepared_input, smooth_net

TARGETS = [
    logit(0),
    logit(2),
    Target("class 1", 1, "probability", "softmax"),
    Target("a", 1, "contrast", "softmax", "b", 0),
]
CAMS = ["grad-cam", "grad-cam-plus-plus", "layer-cam", "eigen-cam"]


def plain_score(logits: Tensor, target: Target) -> Tensor:
    if target.output == "contrast":
        return logits[0, target.index] - logits[0, target.against_index]
    return logits[0].softmax(0)[target.index] if target.output == "probability" else logits[0, target.index]


def reference(target: Target) -> tuple[Tensor, Tensor, nn.Module]:
    """Activations (C, h, w) and d score / d activations of the small network, in float64."""
    net = copy.deepcopy(smooth_net()).double()
    activations = net.second(torch.tanh(net.first(prepared_input().tensor.double()))).detach()
    activations.requires_grad_()
    score = plain_score(net.head(activations.mean(dim=(2, 3))), target)
    (gradient,) = torch.autograd.grad(score, activations)
    return activations.detach()[0], gradient[0], net


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.output)
def test_grad_cam_by_its_paper(target: Target) -> None:
    activations, gradient, _ = reference(target)
    expected = torch.zeros(activations.shape[1:], dtype=torch.float64)
    for channel in range(len(activations)):
        expected += gradient[channel].mean() * activations[channel]
    (found,) = explain("grad-cam", smooth_net(), prepared_input(), target)
    assert_close_to_range(found.native, expected.numpy())


def test_grad_cam_is_not_rectified() -> None:
    """Against another class the weights change sign, and with them the map."""
    one, other = (Target("a", i, "contrast", "softmax", "b", 1 - i) for i in (0, 1))
    found, opposite = explain("grad-cam", smooth_net(), prepared_input(), one, other)
    np.testing.assert_allclose(found.values, -opposite.values, rtol=1e-4, atol=1e-6)
    assert min(found.values.min(), opposite.values.min()) < 0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.output)
def test_layer_cam_by_its_paper(target: Target) -> None:
    activations, gradient, _ = reference(target)
    expected = torch.zeros(activations.shape[1:], dtype=torch.float64)
    for channel in range(len(activations)):
        expected += gradient[channel].clamp(min=0) * activations[channel]
    (found,) = explain("layer-cam", smooth_net(), prepared_input(), target)
    assert_close_to_range(found.native, expected.numpy())


@pytest.mark.parametrize("index", [0, 1, 2])
def test_grad_cam_plus_plus_by_its_paper(index: int) -> None:
    """Eq. 10 with Y = exp(S) and true second and third derivatives, cell by cell; the common factor Y is divided out."""
    activations, _, net = reference(logit(index))
    expected = torch.zeros(activations.shape[1:], dtype=torch.float64)
    for channel, maps in enumerate(activations):
        weight = torch.zeros((), dtype=torch.float64)
        for cell in np.ndindex(*maps.shape):
            shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
            moved = activations.clone()
            moved[(channel, *cell)] += shift
            outcome = net.head(moved.mean(dim=(1, 2)))[index].exp()
            (first,) = torch.autograd.grad(outcome, shift, create_graph=True)
            (second,) = torch.autograd.grad(first, shift, create_graph=True)
            (third,) = torch.autograd.grad(second, shift)
            alpha = second / (2 * second + maps.sum() * third)
            weight += (alpha * first.clamp(min=0) / outcome).detach()
        expected += weight * maps
    (found,) = explain("grad-cam-plus-plus", smooth_net(), prepared_input(), logit(index))
    assert_close_to_range(found.native, expected.numpy())


def test_grad_cam_plus_plus_does_not_depend_on_the_size_of_the_gradients() -> None:
    """Activations up by 1e4 and gradients down by it leave the formula as it is; the library's epsilon would not."""
    net, scaled = smooth_net(), smooth_net()
    with torch.no_grad():
        scaled.head.weight /= 1e4

    class Louder(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps * 1e4

    scaled.second.append(Louder())
    (expected,) = explain("grad-cam-plus-plus", net, prepared_input(), logit(1))
    (found,) = explain("grad-cam-plus-plus", scaled, prepared_input(), logit(1))
    assert_close_to_range(found.native, expected.native)


def test_grad_cam_plus_plus_has_no_pole_where_activations_are_negative() -> None:
    """Before the activation function sums are negative; a weight then is half the sum of the positive gradients."""
    net = smooth_net()
    with torch.no_grad():
        net.second[0].bias -= 6.0
        net.head.weight *= 100.0
    captured = []
    handle = net.second[0].register_forward_hook(lambda _module, _given, output: captured.append(output))
    logits = net(prepared_input().tensor)
    handle.remove()
    activations = captured[0].detach().double()
    assert activations.sum(dim=(2, 3)).max() < 0
    (gradient,) = torch.autograd.grad(logits[0, 0], captured[0])
    weights = gradient.double().clamp(min=0).sum(dim=(2, 3), keepdim=True) / 2
    (found,) = explain("grad-cam-plus-plus", net, prepared_input(), layer="second.0")
    assert_close_to_range(found.native, (weights * activations).sum(dim=1)[0].numpy())


def test_eigen_cam_is_the_first_principal_component_with_its_sign_fixed() -> None:
    """By the eigenvectors of the channels' covariance, another road than the singular value decomposition."""
    activations = reference(logit())[0].numpy().reshape(5, -1)
    values, vectors = np.linalg.eigh(np.cov(activations))
    projected = vectors[:, values.argmax()] @ (activations - activations.mean(axis=1, keepdims=True))
    projected *= np.sign(np.corrcoef(projected, np.linalg.norm(activations, axis=0))[0, 1])
    (found,) = explain("eigen-cam", smooth_net(), prepared_input())
    assert_close_to_range(found.native, projected.reshape(found.native.shape))


def test_eigen_cam_is_the_librarys_up_to_sign_and_the_same_for_every_class() -> None:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    found, other = explain("eigen-cam", smooth_net(), prepared_input(), logit(0), logit(2))
    (expected,) = get_2d_projection(reference(logit())[0].numpy()[None])
    assert_close_to_range(found.native * np.sign((found.native * expected).sum()), expected)
    np.testing.assert_array_equal(found.values, other.values)


@pytest.mark.parametrize("method", CAMS)
def test_values_are_the_native_map_on_the_input_grid(method: str) -> None:
    (found,) = explain(method, smooth_net(), prepared_input())
    assert found.native.shape == (4, 4)
    np.testing.assert_array_equal(found.values[0], layer_to_input(found.native, (SIZE, SIZE)))


@pytest.mark.parametrize("method", CAMS)
def test_the_score_is_reported(method: str) -> None:
    (found,) = explain(method, smooth_net(), prepared_input(), logit(1))
    with torch.no_grad():
        expected = smooth_net()(prepared_input().tensor)[0, 1]
    assert float(found.facts["score"]) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [("", "needs a target layer"), ("third", "no layer named 'third'"), ("head", "no map over the image")],
)
def test_an_unusable_layer_is_refused(layer: str, sentence: str) -> None:
    with pytest.raises(ExplainError, match=sentence):
        explain("grad-cam", smooth_net(), prepared_input(), layer=layer)


class Passing(nn.Module):
    """The explained layer hands on its input, which the network then overwrites."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.second, self.head = nn.Conv2d(3, 4, 4, stride=4), nn.Identity(), nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.convolution(image)
        passed = self.second(maps)
        maps.mul_(0.0)
        return self.head(passed.mean(dim=(2, 3)))


def test_an_overwritten_input_of_the_layer_does_not_reach_its_map() -> None:
    torch.manual_seed(0)
    net = Passing().eval()
    maps = net.convolution(prepared_input().tensor).detach()
    expected = (net.head.weight[0].detach().view(-1, 1, 1) / maps[0, 0].numel() * maps[0]).sum(dim=0)
    (found,) = explain("grad-cam", net, prepared_input())
    assert_close_to_range(found.native, expected.numpy())


class Branched(nn.Module):
    """One branch that does not reach the score, one module that never runs, one that returns no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.side, self.idle = (nn.Conv2d(3, 4, 3) for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        self.side(image)
        return self.head(self.second(image).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("layer", "sentence"), [("side", "does not depend on layer 'side'"), ("idle", "'idle' took no part")]
)
def test_a_layer_off_the_way_to_the_score_is_refused(layer: str, sentence: str) -> None:
    net = Branched().eval()
    with pytest.raises(ExplainError, match=sentence):
        explain("grad-cam", net, prepared_input(), layer=layer)
    assert not any(part._forward_hooks for part in net.modules())
