"""Weights in half precision, as few of them in single precision as keep the scores where they were.

Rounding hurts in the first layers and in batch normalisation, whose tensors are small; so tensors up to some number of
values stay in single precision, and that number rises until no probability of the validation part moves by 5e-4: other
images may move twice as far and still stay within the 1e-3 that is promised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from models.card import ModelCard
from models.errors import ModelError
from models.training.scoring import Scored, probabilities

MOST_BYTES = 12_000_000
MOST_DIFFERENCE = 5e-4
KEPT = (10_000, 30_000, 60_000, 200_000)  # values of the largest tensor left in single precision, tried in this order


@dataclass(frozen=True)
class HalfPrecision:
    """What rounding did on the validation part.

    Attributes:
        largest_difference: of a calibrated probability, of images and of pixels, against the weights in single
            precision.
        n: images compared.
        single_up_to: tensors of so many values or fewer are in single precision.
        bytes: size of the file.
    """

    largest_difference: float
    n: int
    single_up_to: int
    bytes: int

    @property
    def holds(self) -> bool:
        return self.largest_difference < MOST_DIFFERENCE


def save_weights(module: nn.Module, path: Path, kept: int) -> None:
    """The state dict as safetensors: fp16, tensors of at most ``kept`` values fp32.

    Raises:
        ModelError: the file takes more than 12 MB.
    """
    state = {}
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        large = value.is_floating_point() and value.numel() > kept
        state[name] = (value.to(torch.float16) if large else value).contiguous()
    save_file(state, path)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelError(
            f"The weights take {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}; use a smaller network."
        )


def compare(card: ModelCard, half: Scored, full: Scored, kept: int) -> HalfPrecision:
    """Of the same images scored with both weights, calibrated as the card says."""
    gap = np.abs(probabilities(card, half.logits) - probabilities(card, full.logits)).max()
    if half.pixels is not None and full.pixels is not None:
        pixels = probabilities(card, half.pixels.logits) - probabilities(card, full.pixels.logits)
        gap = max(gap, np.abs(pixels).max())
    size = (card.folder / card.weights.file).stat().st_size
    return HalfPrecision(float(gap), len(half.rows), kept, size)


def refuse(card: ModelCard, found: HalfPrecision) -> ModelError:
    """What to say when no choice of tensors held."""
    return ModelError(
        f"In half precision the scores of {card.id} move by {found.largest_difference:.4f} on the validation part, "
        f"more than {MOST_DIFFERENCE}; train with a smaller learning rate or more weight decay."
    )
