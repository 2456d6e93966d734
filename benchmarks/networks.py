"""Networks that benchmarks run on: timm's with random weights in which every branch matters, and the shipped ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from explainers.layers import candidate_layers
from explainers.runtime.model import PreparedModel
from models.card import ModelCard, find_cards
from models.handle import ModelHandle
from models.training.recipe import ID, RECIPES, SPLIT
from models.types import Image

ZOO = Path(__file__).parents[1] / "models" / "zoo"
SIZE = 224
CLASSES = ("A", "B", "C", "D", "E")


def random_network(architecture: str) -> nn.Module:
    """Five classes, weights of seed 0, normalisation and layer scale away from zero: timm starts residual branches there."""
    torch.manual_seed(0)
    module = timm.create_model(architecture, pretrained=False, num_classes=len(CLASSES)).eval()
    draw = torch.Generator().manual_seed(0)
    for name, weight in module.named_parameters():
        if weight.ndim == 1:
            low, high = (-0.2, 0.2) if name.endswith("bias") else (0.6, 1.4)
            weight.data = torch.rand(weight.shape, generator=draw) * (high - low) + low
    return module


def random_model(architecture: str, size: tuple[int, int] = (SIZE, SIZE)) -> ModelHandle:
    """That network behind a handle, for inputs of that height and width."""
    module = random_network(architecture)
    layer = candidate_layers(module, torch.zeros(1, 3, *size))[0].name
    card = shipped_cards()["skin-lesion-7"]
    given = card.input.model_copy(update={"height": size[0], "width": size[1]})
    changes = {"id": architecture, "classes": CLASSES, "target_layers": (layer,), "input": given, "novelty": None}
    return ModelHandle(card.model_copy(update=changes), module)


def shipped_cards() -> dict[str, ModelCard]:
    return dict(find_cards([ZOO])[0])


def test_images(model: str, data: Path, count: int) -> list[Image]:
    """Of the model's data set below ``data``, evenly spread over the test part; recipes have been discovered."""
    recipe = RECIPES.get(model)
    rows = recipe.rows(data / recipe.folder)
    test = rows[rows[SPLIT] == "test"].sort_values(ID)
    chosen = test.iloc[np.unique(np.linspace(0, len(test) - 1, count).round().astype(int))]
    return [recipe.image(data / recipe.folder, row) for row in chosen.to_dict("records")]


def prepared(name: str) -> PreparedModel:
    """A shipped model by its id, or a random network by timm's name."""
    cards = shipped_cards()
    return PreparedModel(ModelHandle.load(cards[name]) if name in cards else random_model(name))
