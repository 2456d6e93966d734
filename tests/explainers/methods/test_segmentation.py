"""Every method on a segmentation network: the pooled logit is what is explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from explainers import EXPLAINERS, get
from explainers.layers import candidate_layers, find_layer
from models.preprocess import InputSpec, prepare
from models.segmentation import UNet, pool
from models.types import Geometry, Image, Modality
from tests.explainers.support import explain, logit, make_live, prepared_input

LAYERS = {"encoder.blocks.4": (2, 2), "encoder.blocks.1": (8, 8), "decoder.0": (4, 4), "decoder.3": (32, 32)}
CAMS = [e.spec.id for e in EXPLAINERS if "layer" in {param.name for param in e.spec.params}]


@pytest.fixture(scope="module")
def net() -> UNet:
    torch.manual_seed(0)
    return make_live(UNet("mobilenetv3_small_050", 2))


@pytest.mark.parametrize("method", EXPLAINERS.ids())
def test_each_method_gives_a_finite_map_that_is_not_flat(method: str, net: UNet) -> None:
    prepared = prepared_input(64)
    (found,) = explain(method, net, prepared, logit(1), layer="decoder.1")
    assert found.values.shape[-2:] == (64, 64)
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values) > 0
    assert get(method).supports(net, "decoder.1").ok


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", CAMS)
def test_encoder_and_decoder_layers_can_be_targets(method: str, layer: str, net: UNet) -> None:
    (found,) = explain(method, net, prepared_input(64), logit(0), layer=layer)
    assert np.isfinite(found.values).all()
    assert found.native is not None
    assert found.native.shape == LAYERS[layer]


def test_integrated_gradients_add_up_to_the_difference_of_the_pooled_logits(net: UNet) -> None:
    prepared = prepared_input(64)
    (found,) = explain("integrated-gradients", net, prepared, logit(1), steps=200)
    black = prepared.black.view(1, 3, 1, 1).expand(1, 3, 64, 64)
    with torch.no_grad():
        difference = float(pool(net.masks(prepared.tensor))[0, 1] - pool(net.masks(black))[0, 1])
    assert found.values.sum(dtype=np.float64) == pytest.approx(difference, rel=0.05)
    assert found.completeness_error is not None
    assert abs(found.completeness_error) < 0.05


def test_the_gradient_is_that_of_the_mean_of_the_highest_pixels(net: UNet) -> None:
    """Re-derived with numpy's choice of the pixels, in float64."""
    prepared = prepared_input(64)
    (found,) = explain("saliency", net, prepared, logit(0))
    exact = UNet("mobilenetv3_small_050", 2)
    exact.load_state_dict(net.state_dict())
    exact = exact.double().eval()
    image = prepared.tensor.double().requires_grad_()
    pixels = exact.masks(image)[0, 0].flatten()
    highest = np.argsort(pixels.detach().numpy())[-round(0.01 * 64 * 64) :]
    (expected,) = torch.autograd.grad(pixels[torch.from_numpy(highest.copy())].mean(), image)
    ratio = np.abs(found.values).max() / expected.abs().max().item()
    assert ratio == pytest.approx(1.0, rel=1e-2)
    inner = np.corrcoef(np.abs(found.values).ravel(), expected[0].abs().numpy().ravel())[0, 1]
    assert inner > 0.999


def test_candidates_are_the_decoder_last_first_then_the_encoder(net: UNet) -> None:
    found = [info.name for info in candidate_layers(net, torch.zeros(1, 3, 64, 64))]
    decoder = [name for name in found if name.startswith("decoder.")]
    assert decoder == ["decoder.3", "decoder.2", "decoder.1", "decoder.0"]
    encoder = [name for name in found if name.startswith("encoder.blocks.")]
    assert len(encoder) >= 3
    assert found.index(encoder[0]) > found.index("decoder.0")
    assert len(found) <= 12
    assert all(find_layer(net, name) is not None for name in found)


@pytest.mark.parametrize("method", EXPLAINERS.ids())
def test_three_neighbouring_slices_give_one_map_a_slice_or_one_for_all(method: str) -> None:
    """A network of slices sees three different channels; only gradients tell them apart."""
    torch.manual_seed(0)
    net = make_live(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, stride=2), torch.nn.Softplus()))
    net = torch.nn.Sequential(net, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 1)).eval()
    values = np.random.default_rng(0).normal(-500, 300, (1, 5, 40, 40)).astype(np.float32)
    volume = Image(values, "HU", Modality.CT, Geometry(np.diag([1.0, 1.0, 2.0, 1.0])))
    prepared = prepare(volume.slice(2), InputSpec(40, 40, 3, "spacing", spacing_mm=1.0, slices=3))
    (found,) = explain(method, net, prepared, logit(0), layer="0")
    assert np.isfinite(found.values).all()
    assert found.values.shape[0] == (3 if get(method).spec.family == "gradient" else 1)


def test_occlusion_hides_all_three_slices_at_once() -> None:
    """Linear score of the middle slice alone or of all: the map of all is the sum of the three."""
    image = prepared_input(24)
    weight = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(2))

    class Linear(torch.nn.Module):
        def __init__(self, kept: tuple[int, ...]) -> None:
            super().__init__()
            self.kept = torch.tensor([float(channel in kept) for channel in range(3)]).view(3, 1, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return (inputs * weight * self.kept).sum((1, 2, 3))[:, None]

    params = {"window": 8, "stride": 8}
    maps = [explain("occlusion", Linear(kept), image, logit(0), **params)[0].values for kept in ((0,), (1,), (2,))]
    (together,) = explain("occlusion", Linear((0, 1, 2)), image, logit(0), **params)
    np.testing.assert_allclose(together.values, sum(maps), atol=1e-3)
