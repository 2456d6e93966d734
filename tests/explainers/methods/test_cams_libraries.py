"""The class activation maps against captum, pytorch-grad-cam and torchcam on networks people use."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn import functional
from torchcam.methods import GradCAM as TorchcamGradCAM
from torchcam.methods import LayerCAM as TorchcamLayerCAM

from explainers.layers import candidate_layers, reshape_for
from tests.explainers.support import assert_close_to_range, explain, logit, make_live, prepared_input

NETWORKS = {
    "densenet121": "features.denseblock4",
    "resnet50": "layer4.2",
    "convnext_tiny": "stages.3",
    "resnet50 (early)": "layer3.5",
}
SIZE, INDEX = 96, 5  # a class whose maps hold both signs in all of them


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return make_live(timm.create_model(name.partition(" ")[0], pretrained=False, num_classes=10))


def prepared():
    return prepared_input(SIZE)


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_equals_captums(name: str) -> None:
    net, layer = network(name), NETWORKS[name]
    (found,) = explain("grad-cam", net, prepared(), logit(INDEX), layer=layer)
    expected = LayerGradCam(net, net.get_submodule(layer)).attribute(prepared().tensor, INDEX)
    assert_close_to_range(found.native, expected[0, 0].detach().numpy())
    assert found.native.min() < 0 < found.native.max()


@pytest.mark.parametrize(("method", "library"), [("grad-cam", GradCAM), ("layer-cam", LayerCAM)])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_pytorch_grad_cams_after_its_relu_and_scaling(name: str, method: str, library: type) -> None:
    net, layer = network(name), NETWORKS[name]
    (found,) = explain(method, net, prepared(), logit(INDEX), layer=layer)
    target_layer = net.get_submodule(layer)
    (expected,) = library(net, [target_layer])(prepared().tensor, [ClassifierOutputTarget(INDEX)])
    rectified = np.maximum(found.native, 0)[None]
    (scaled,) = scale_cam_image(np.maximum(scale_cam_image(rectified, (SIZE, SIZE)), 0))
    assert_close_to_range(scaled, expected)


@pytest.mark.parametrize(("method", "library"), [("grad-cam", TorchcamGradCAM), ("layer-cam", TorchcamLayerCAM)])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_torchcams_after_its_relu_and_scaling(name: str, method: str, library: type) -> None:
    net, layer = network(name), NETWORKS[name]
    (found,) = explain(method, net, prepared(), logit(INDEX), layer=layer)
    with library(net, layer) as extractor:
        (expected,) = extractor(INDEX, net(prepared().tensor))
    rectified = np.maximum(found.native, 0)
    scaled = (rectified - rectified.min()) / (np.ptp(rectified) + 1e-8)
    assert_close_to_range(scaled, expected[0].numpy())


def test_grad_cam_plus_plus_equals_the_librarys_where_its_epsilon_is_small() -> None:
    torch.manual_seed(0)
    net = make_live(timm.create_model("resnet18", pretrained=False, num_classes=10))
    with torch.no_grad():
        net.fc.weight *= 1e4
    (found,) = explain("grad-cam-plus-plus", net, prepared(), logit(INDEX), layer="layer4.1")
    (expected,) = GradCAMPlusPlus(net, [net.layer4[1]])(prepared().tensor, [ClassifierOutputTarget(INDEX)])
    rectified = np.maximum(found.native, 0)[None]
    (scaled,) = scale_cam_image(np.maximum(scale_cam_image(rectified, (SIZE, SIZE)), 0))
    assert_close_to_range(scaled, expected, 1e-4)


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam"])
def test_the_map_before_an_in_place_relu_is_of_what_the_layer_returned(method: str) -> None:
    """torchvision's densenet overwrites the output of norm5 by ``relu(inplace=True)``; the map must not see that."""
    torch.manual_seed(0)
    net = make_live(torchvision.models.densenet121(weights=None, num_classes=10))
    (found,) = explain(method, net, prepared(), logit(INDEX), layer="features.norm5")
    maps = net.features(prepared().tensor).detach().requires_grad_()
    assert maps.min() < 0
    logits = net.classifier(functional.adaptive_avg_pool2d(functional.relu(maps), 1).flatten(1))
    (gradient,) = torch.autograd.grad(logits[0, INDEX], maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True) if method == "grad-cam" else gradient.clamp(min=0)
    assert_close_to_range(found.native, (weights * maps).sum(dim=1)[0].detach().numpy())
    if method == "grad-cam":
        captum = LayerGradCam(net, net.features.norm5).attribute(prepared().tensor, INDEX)
        assert_close_to_range(found.native, captum[0, 0].detach().numpy())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize(("method", "library"), [("grad-cam", GradCAM), ("layer-cam", LayerCAM)])
def test_transformers_equal_pytorch_grad_cam_with_the_same_reshape(name: str, method: str, library: type) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False, num_classes=10, img_size=SIZE + 16).eval()
    inputs = prepared_input(SIZE + 16)
    layer = candidate_layers(net, inputs.tensor)[0].name
    (found,) = explain(method, net, inputs, logit(INDEX), layer=layer)
    with library(
        net, [net.get_submodule(layer)], reshape_transform=lambda out: reshape_for(net, layer, tuple(out.shape))(out)
    ) as cam:
        (expected,) = cam(inputs.tensor, [ClassifierOutputTarget(INDEX)])
    rectified = np.maximum(found.native, 0)[None]
    (scaled,) = scale_cam_image(np.maximum(scale_cam_image(rectified, (SIZE + 16, SIZE + 16)), 0))
    assert_close_to_range(scaled, expected)
    assert np.ptp(found.native) > 0
