"""Weights drawn anew: what changes, what stays, and that the copy still does something."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from explainers.quality._reinit import redraw, stages
from tests.explainers.quality.nets import SIZE, Stack


def _inputs(count: int = 4, size: int = SIZE) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def _weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_stages_go_from_the_classes_to_the_image() -> None:
    found = stages(Stack().eval(), _inputs(1))
    assert [stage.name for stage in found] == ["head", *(f"blocks.{number}" for number in range(5, -1, -1))]
    assert found[1].parts == ("blocks.5.0", "blocks.5.1")


@pytest.mark.parametrize(
    ("architecture", "first", "last"),
    [
        ("mobilenetv3_small_050", "classifier", "conv_stem, bn1"),
        ("resnet18", "fc", "conv1, bn1"),
        ("vit_tiny_patch16_224", "head", "input"),
    ],
)
def test_stages_of_common_networks(architecture: str, first: str, last: str) -> None:
    size = 224 if "vit" in architecture else 64
    module = timm.create_model(architecture, pretrained=False).eval()
    found = stages(module, _inputs(1, size))
    assert (found[0].name, found[-1].name) == (first, last)
    named = {name for name, part in module.named_modules() if next(part.parameters(recurse=False), None) is not None}
    assert sorted(part for stage in found for part in stage.parts) == sorted(named)
    assert 5 <= len(found) <= 16


def test_only_the_chosen_stage_changes_and_the_seed_decides_how() -> None:
    torch.manual_seed(1)
    own = Stack().eval()
    before = _weights(own)
    every = stages(own, _inputs(1))
    made = [redraw(copy.deepcopy(own), every[2:3], _inputs(), seed) for seed in (0, 0, 1)]
    for name, value in _weights(made[0]).items():
        drawn = name in ("blocks.4.0.weight", "blocks.4.0.bias", "blocks.4.1.running_mean", "blocks.4.1.running_var")
        assert torch.equal(value, before[name]) != drawn or "num_batches" in name, name
        assert torch.equal(value, made[1].state_dict()[name])
    assert not torch.equal(made[0].blocks[4][0].weight, made[2].blocks[4][0].weight)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    cascade = redraw(copy.deepcopy(own), every[:3], _inputs(), 0)
    assert torch.equal(cascade.blocks[4][0].weight, made[0].blocks[4][0].weight)


def test_drawn_normalisations_have_the_statistics_of_the_images() -> None:
    own = Stack().eval()
    inputs = _inputs()
    made = redraw(copy.deepcopy(own), stages(own, inputs[:1]), inputs, 0)
    first = made.blocks[0]
    with torch.no_grad():
        values = first[0](inputs)
    torch.testing.assert_close(first[1].running_mean, values.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(first[1].running_var, values.var(dim=(0, 2, 3)))
    assert not any(part.training for part in made.modules())
    assert first[1].momentum == own.blocks[0][1].momentum
    with torch.no_grad():
        assert made(inputs).std() > 1e-3


def test_scales_of_residual_branches_are_live() -> None:
    own = timm.create_model("convnext_atto", pretrained=False).eval()
    assert float(own.stages[0].blocks[0].gamma.detach().abs().max()) < 1e-5
    made = redraw(copy.deepcopy(own), stages(own, _inputs(1, 64)), _inputs(2, 64), 0)
    assert bool((made.stages[0].blocks[0].gamma == 1).all())
    tokens = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2).eval()
    drawn = redraw(copy.deepcopy(tokens), stages(tokens, _inputs(1, 32)), _inputs(2, 32), 0)
    assert 0.01 < float(drawn.pos_embed.detach().std()) < 0.03
    assert not torch.equal(drawn.pos_embed, tokens.pos_embed)
