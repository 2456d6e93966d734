from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from explainers.layers import candidate_layers, find_layer, reshape_for

CANDIDATES = {
    "timm/densenet121": ["features.norm5", "features.denseblock4", "features.denseblock3", "features.denseblock2"],
    "timm/resnet50": ["layer4.2", "layer3.5", "layer2.3", "layer1.2"],
    "timm/convnext_tiny": ["stages.3", "stages.2", "stages.1", "stages.0"],
    "timm/tf_efficientnet_lite0": ["bn2", "blocks.6", "blocks.4", "blocks.2"],
    "timm/vit_tiny_patch16_224": ["blocks.11.norm1", "blocks.8.norm1", "blocks.5.norm1", "blocks.2.norm1"],
    "timm/deit_tiny_distilled_patch16_224": ["blocks.11.norm1", "blocks.8.norm1"],
    "timm/swin_tiny_patch4_window7_224": ["norm", "layers.3", "layers.2", "layers.1", "layers.0"],
    "torchvision/resnet18": ["layer4.1", "layer3.1", "layer2.1", "layer1.1"],
    "torchvision/vit_b_16": ["encoder.layers.encoder_layer_11.ln_1", "encoder.layers.encoder_layer_8.ln_1"],
}


def build(name: str) -> nn.Module:
    library, _, architecture = name.partition("/")
    if library == "timm":
        return timm.create_model(architecture, pretrained=False).eval()
    return torchvision.models.get_model(architecture, weights=None).eval()


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@pytest.mark.parametrize("name", CANDIDATES)
def test_candidates_are_the_layers_people_use_last_first_and_each_can_be_read(name: str) -> None:
    module, image = build(name), torch.randn(1, 3, 224, 224)
    found = candidate_layers(module, image)
    names = [info.name for info in found]
    assert names[: len(CANDIDATES[name])] == CANDIDATES[name]
    assert len(found) <= 8
    assert hooks(module) == 0
    for info in found:
        layer = find_layer(module, info.name)
        outputs = []
        handle = layer.register_forward_hook(lambda _module, _given, output: outputs.append(output))  # noqa: B023
        with torch.no_grad():
            module(image)
        handle.remove()
        maps = reshape_for(module, info.name, tuple(outputs[-1].shape))(outputs[-1])
        assert maps.shape == (1, *info.shape)
        assert info.shape[1] == info.shape[2] >= 7


@pytest.mark.parametrize(
    ("name", "layer", "cell"),
    [
        ("timm/vit_tiny_patch16_224", "blocks.0.norm1", 16),
        ("timm/deit_tiny_distilled_patch16_224", "blocks.0.norm1", 16),
        ("torchvision/vit_b_16", "encoder.layers.encoder_layer_0.ln_1", 16),
        ("timm/swin_tiny_patch4_window7_224", "patch_embed", 4),
        ("timm/convnext_tiny", "stages.0.blocks.0.norm", 4),
    ],
)
def test_a_patch_changed_in_the_image_changes_the_cells_around_its_own(name: str, layer: str, cell: int) -> None:
    """Planted token: before any mixing only the cell over the patch moves, after one convolution those around it."""
    module, row, column = build(name), 5, 9
    image = torch.randn(1, 3, 224, 224)
    changed = image.clone()
    changed[..., row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] += 1.0
    outputs = []
    handle = find_layer(module, layer).register_forward_hook(lambda _module, _given, output: outputs.append(output))
    with torch.no_grad():
        module(image)
        module(changed)
    handle.remove()
    reshape = reshape_for(module, layer, tuple(outputs[0].shape))
    moved = (reshape(outputs[1]) - reshape(outputs[0])).abs().sum(dim=1)[0]
    rows, columns = torch.nonzero(moved > 1e-3 * moved.max(), as_tuple=True)
    assert (rows.min() + rows.max(), columns.min() + columns.max()) == (2 * row, 2 * column)
    assert len(rows) <= 7 * 7


def test_tokens_of_an_oblong_input_are_read_row_by_row() -> None:
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(64, 96)).eval()
    tokens = torch.arange(1 + 4 * 6, dtype=torch.float32).view(1, -1, 1)
    maps = reshape_for(module, "blocks.0.norm1", tuple(tokens.shape))(tokens)
    torch.testing.assert_close(maps[0, 0], torch.arange(1.0, 25.0).view(4, 6))


def test_an_oblong_map_is_told_apart_by_the_width_of_its_weights() -> None:
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    assert reshape_for(swin, "layers.0", (1, 40, 56, 96))(torch.zeros(1, 40, 56, 96)).shape == (1, 96, 40, 56)
    convnext = timm.create_model("convnext_tiny", pretrained=False)
    assert reshape_for(convnext, "stages.0", (1, 96, 40, 56))(torch.zeros(1, 96, 40, 56)).shape == (1, 96, 40, 56)


@pytest.mark.parametrize("shape", [(1, 1000), (1, 2048, 1, 1), (1, 150, 192), (1,)])
def test_what_is_no_map_is_not_read_as_one(shape: tuple[int, ...]) -> None:
    module = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    assert reshape_for(module, "blocks.0.norm1", shape) is None
    assert reshape_for(module, "no.such.layer", (1, 8, 7, 7)) is None


def test_a_volume_network_is_not_ruled_out() -> None:
    module = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1))
    maps = torch.zeros(1, 4, 5, 6, 7)
    assert reshape_for(module, "0", tuple(maps.shape))(maps).shape == maps.shape


def test_hooks_go_when_the_forward_fails() -> None:
    module = build("torchvision/resnet18")
    with pytest.raises(RuntimeError):
        candidate_layers(module, torch.randn(1, 5, 64, 64))
    assert hooks(module) == 0
