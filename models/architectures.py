"""Networks by name: ``timm:``, ``torchvision:``, ``xrv:`` or ``unet:`` with a timm encoder; never downloaded weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torchvision
from torch import nn

from models.card import ModelCard
from models.errors import ModelError, SightlineError, Unavailable
from models.segmentation import UNet


def _timm(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    if name not in timm.list_models(module=""):
        raise ModelError(f"Card field architecture: timm has no network {name!r}.")
    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **args)
    return module


def _torchvision(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ModelError(f"Card field architecture: torchvision has no classification network {name!r}.")
    if channels != 3:
        raise ModelError("Card field input.channels must be 3 for torchvision networks.")
    module: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **args)
    return module


def _xrv(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    try:
        import torchxrayvision
    except ImportError:
        raise Unavailable("This model needs TorchXRayVision: pip install torchxrayvision.") from None
    if name != "DenseNet":
        raise ModelError(f"Card field architecture: xrv offers DenseNet, got {name!r}.")
    # Its forward warps scores by operating points if it has any; without them the output is the logit.
    module: nn.Module = torchxrayvision.models.DenseNet(
        num_classes=classes, in_channels=channels, weights=None, op_threshs=None, **args
    )
    return module


def _unet(name: str, classes: int, channels: int, args: dict[str, Any]) -> nn.Module:
    if name not in timm.list_models(module=""):
        raise ModelError(f"Card field architecture: timm has no network {name!r} to make the encoder of.")
    return UNet(name, classes, channels, **args)


_BUILDERS: dict[str, Callable[[str, int, int, dict[str, Any]], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "xrv": _xrv,
    "unet": _unet,
}


_ELSEWHERE = {"checkpoint_path", "weights_path", "cache_dir", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


def build(card: ModelCard) -> nn.Module:
    """The card's network with random weights, on the CPU. Raises ModelError or Unavailable."""
    family, name = card.architecture.split(":", 1)
    # Such arguments make a library fetch or unpickle weights past the checks of models/weights.py.
    outside = sorted(_ELSEWHERE.intersection(card.architecture_args))
    if outside:
        raise ModelError(
            f"Card field architecture_args: {outside[0]!r} is refused; weights come from weights.file alone."
        )
    try:
        return _BUILDERS[family](name, len(card.classes), card.input.channels, dict(card.architecture_args))
    except SightlineError:
        raise
    except Exception as error:  # a builder may raise anything on arguments it was not made for
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"Card field architecture: {card.architecture} cannot be built: {reason}.") from None
