"""Layers, parameters and multiply-adds against counts made by hand and by timm."""

from __future__ import annotations

import timm
import torch
from torch import nn

from models.inspect import inspect


class Pair(nn.Module):
    """Gives two tensors."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs, inputs


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU())
        self.pair = Pair()
        self.never = nn.Linear(2, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        left, _ = self.pair(self.stem(inputs))
        return self.head(left.mean((2, 3)))


def test_counts_made_by_hand() -> None:
    network = Small().eval()
    found = inspect(network, torch.zeros(1, 3, 16, 12))
    rows = {row.name: row for row in found.layers}
    assert list(rows) == ["stem", "stem.0", "stem.1", "pair", "never", "head"]
    assert (rows["stem"].shape, rows["stem"].parameters, rows["stem"].kind) == ((8, 16, 12), 8 * 3 * 9, "Sequential")
    assert (rows["stem.0"].depth, rows["head"].parameters, rows["head"].shape) == (1, 8 * 5 + 5, (5,))
    assert rows["pair"].shape == rows["never"].shape == ()
    assert found.parameters == 8 * 27 + 6 + 45
    assert found.macs == 8 * 27 * 16 * 12 + 8 * 5
    assert not any(part._forward_hooks for part in network.modules())


def test_a_known_network() -> None:
    """ResNet-18 at 224 px: 11.69 million parameters and 1.81 billion multiply-adds (He et al. 2016, table 1: 1.8e9)."""
    network = timm.create_model("resnet18", pretrained=False).eval()
    found = inspect(network, torch.zeros(1, 3, 224, 224))
    assert found.parameters == 11_689_512
    assert round(found.macs / 1e9, 2) == 1.81
