"""Folded networks give the scores, activation maps and occlusions of the originals; what cannot be folded is left alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import explainers
from explainers.layers import candidate_layers
from explainers.passes import Passes
from explainers.runtime.folding import TOLERANCE, fold
from models.context import RunContext
from models.preprocess import Prepared
from models.segmentation import UNet
from models.types import Target
from tests.conftest import liven

FOLDS = {
    "resnet18": 20,
    "densenet121": 59,  # a normalisation that reads a concatenation has no convolution before it
    "tf_efficientnet_lite0": 49,
    "mobilenetv3_small_050": 34,
    "regnety_004": 53,
    "vgg11_bn": 8,
    "inception_v3": 94,
}
LEFT = ("convnext_atto", "vit_tiny_patch16_224", "mixer_s32_224", "nf_resnet26")
SMALLER = {"vgg11_bn": {"mlp_ratio": 1 / 64}}  # its head has no such pairs, and 120 million weights
SIZES = {"vit_tiny_patch16_224": 224, "mixer_s32_224": 224, "inception_v3": 96}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return liven(timm.create_model(name, pretrained=False, num_classes=3, **SMALLER.get(name, {})))


def image_for(name: str, channels: int = 3) -> Tensor:
    size = SIZES.get(name, 64)
    return torch.randn(1, channels, size, size if name in SIZES else 96, generator=torch.Generator().manual_seed(2))


def prepared(image: Tensor) -> Prepared:
    nothing = torch.zeros(image.shape[1])
    return Prepared(image, np.eye(3), (int(image.shape[2]), int(image.shape[3])), nothing, nothing)


@pytest.mark.parametrize("name", FOLDS)
def test_scores_and_maps_are_those_of_the_original(name: str) -> None:
    module, image = network(name).requires_grad_(False), image_for(name)
    found = fold(module, image)
    assert found.pairs == FOLDS[name]
    assert found.error < TOLERANCE
    assert sum(isinstance(part, nn.BatchNorm2d) for part in found.module.modules()) == (
        sum(isinstance(part, nn.BatchNorm2d) for part in module.modules()) - FOLDS[name]
    )
    layer = candidate_layers(module, image)[0].name
    for method, params in (("grad-cam", {"layer": layer}), ("occlusion", {"window": 16, "stride": 16})):
        explainer = explainers.get(method)
        resolved = explainer.spec.resolve(params)
        exact, plain, folded = (
            explainer.explain(Passes(net, RunContext()), prepared(given), [Target("second", 1)], resolved, 0)[0].values
            for net, given in (
                (copy.deepcopy(module).double(), image.double()),
                (module, image),
                (found.module, image),
            )
        )
        span = float(np.abs(exact).max())
        assert span > 0
        # A map is a difference of scores: rounding weighs more where windows move the score little.
        assert np.abs(folded - exact).max() <= 3 * np.abs(plain - exact).max() + 2e-6 * span, method
        assert np.abs(folded - plain).max() < 5e-5 * span, method


@pytest.mark.parametrize("name", LEFT)
def test_networks_without_such_pairs_stay_as_they_are(name: str) -> None:
    module, image = network(name), image_for(name)
    found = fold(module, image)
    assert found.pairs == 0
    with torch.inference_mode():
        torch.testing.assert_close(found.module(image), module(image), rtol=1e-4, atol=1e-5)


def test_a_segmentation_network_is_folded_to_its_masks() -> None:
    module = liven(UNet("mobilenetv3_small_050", 2))
    image = image_for("unet")
    found = fold(module, image)
    assert found.pairs > 30
    with torch.inference_mode():
        expected = module.masks(image)
        gap = (found.module.masks(image) - expected).abs().max()  # type: ignore[operator]
    assert gap < 1e-4 * expected.abs().max()


class Reused(nn.Module):
    """The convolution's output is used beside the normalisation too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.conv(inputs)
        return self.head((self.norm(found) + found).mean((2, 3)))


class Twice(nn.Module):
    """One convolution, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(self.conv(inputs))).mean((2, 3)))


@pytest.mark.parametrize("made", [Reused, Twice])
def test_a_fold_that_would_change_the_scores_is_not_used(made: type[nn.Module]) -> None:
    module = liven(made())
    image = torch.randn(1, 3, 32, 32)
    found = fold(module, image)
    assert found.pairs == 0
    with torch.inference_mode():
        torch.testing.assert_close(found.module(image), module(image))


def test_the_original_stays_as_it_was() -> None:
    module, image = network("resnet18"), image_for("resnet18")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fold(module, image)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
