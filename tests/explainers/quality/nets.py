"""A small network of several stages, trained for a moment to tell a bright patch from a dark one, behind a handle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.card import ModelCard, read_card
from models.handle import ModelHandle
from models.types import FloatArray, Image, Modality

SIZE = 48


class Stack(nn.Module):
    """Six convolutions with batch normalisation and rectifiers, a mean and a linear head."""

    def __init__(self, classes: int = 3, width: int = 10) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width if number else 3, width, 3, stride=2 if number in (2, 4) else 1, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
                for number in range(6)
            )
        )
        self.head = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(image).mean(dim=(2, 3)))


def pictures(count: int, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """(n, H, W) in [0, 1] and labels: a textured ground, and a patch that is bright (1), dark (2) or absent (0)."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, SIZE // 8, SIZE // 8)).repeat(8, axis=1).repeat(8, axis=2)
    ground = 0.5 + 0.06 * coarse + 0.05 * rng.normal(size=(count, SIZE, SIZE))
    labels = rng.integers(0, 3, count)
    for picture, label in zip(ground, labels, strict=True):
        top, left = rng.integers(4, SIZE - 18, 2)
        picture[top : top + 14, left : left + 14] += (0.0, 0.3, -0.3)[label]
    return np.clip(ground, 0, 1).astype(np.float32), labels


def trained(steps: int = 45) -> Stack:
    torch.manual_seed(0)
    net = Stack()
    optimiser = torch.optim.Adam(net.parameters(), 8e-3)
    images, labels = pictures(16 * steps, seed=1)
    for step in range(steps):
        part = slice(16 * step, 16 * (step + 1))
        inputs = ((torch.from_numpy(images[part]) - 0.5) / 0.25)[:, None].expand(-1, 3, -1, -1)
        loss = nn.functional.cross_entropy(net(inputs), torch.from_numpy(labels[part]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def card_of(folder: Path) -> ModelCard:
    return read_card(folder).model_copy(update={"target_layers": ("blocks.5",)})


def handle_of(net: nn.Module, folder: Path) -> ModelHandle:
    return ModelHandle(card_of(folder), net)


def as_images(values: FloatArray) -> list[Image]:
    return [Image(one[None], "unit interval", Modality.XRAY) for one in values]
