"""A split of a recipe's data as tensors, made by the preprocessing that serves the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from models.preprocess import prepare
from models.segmentation import UNet
from models.training.augment import MEAN, STD, normalise
from models.training.recipe import SPLIT, Recipe
from models.types import FloatArray, Image, Modality


@dataclass(frozen=True, eq=False)
class Tensors:
    """One split: (n, 3, H, W) uint8 pictures and (n, K) float32 labels or (n, K, H, W) uint8 masks."""

    rows: pd.DataFrame
    pictures: torch.Tensor
    labels: torch.Tensor


def load(recipe: Recipe, data: Path, split: str) -> Tensors:
    """Every image of a split as the network sees it, rounded to 8 bit so that thousands fit in memory."""
    rows = recipe.rows(data)
    rows = rows[rows[SPLIT] == split].reset_index(drop=True)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    pictures, masks = [], []
    for row in track(_records(rows), f"reading {split}", console=Console(stderr=True), transient=True):
        tensor = prepare(recipe.image(data, row), recipe.input).tensor[0]
        pictures.append((tensor * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8))
        if recipe.mask is not None:
            masks.append(_mask(recipe, data, row))
    labels = torch.from_numpy(rows[list(recipe.classes)].to_numpy(np.float32, copy=True))
    return Tensors(rows, torch.stack(pictures), torch.stack(masks) if masks else labels)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _mask(recipe: Recipe, data: Path, row: Mapping[str, Any]) -> torch.Tensor:
    """(K, H, W) uint8 in {0, 1} on the network's grid, resized as the image is."""
    if recipe.mask is None:
        raise ValueError(f"recipe {recipe.id} has no masks")
    spec = replace(recipe.input, channels=1, mean=(0.0,), std=(1.0,), window=None)
    planes = [
        prepare(Image(plane[None].astype(np.float32), "unit interval", Modality.OTHER), spec).tensor[0, 0] >= 0.5
        for plane in recipe.mask(data, row)
    ]
    return torch.stack(planes).to(torch.uint8)


def answer(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the loss is taken of: a U-Net's (n, K, H, W) masks, any other network's (n, K) logits."""
    found: torch.Tensor = module.masks(inputs) if isinstance(module, UNet) else module(inputs)
    return found


@torch.inference_mode()
def logits_of(module: nn.Module, pictures: torch.Tensor, batch_size: int = 32) -> FloatArray:
    """(n, K) or (n, K, H, W) float32 logits of (n, 3, H, W) uint8 pictures."""
    module.eval()
    device = next(module.parameters()).device
    return np.concatenate(
        [
            answer(module, normalise(part).to(device, memory_format=torch.channels_last)).float().cpu().numpy()
            for part in pictures.split(batch_size)
        ]
    )
