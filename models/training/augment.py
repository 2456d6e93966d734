"""Pictures to network inputs, plain or randomly changed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the ImageNet weights


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(n, 1 or 3, H, W) uint8 to the network's (n, 3, H, W) float32."""
    colour = images.float().div(255).expand(-1, 3, -1, -1)
    return (colour - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def augmentation(
    degrees: float,
    shift: float,
    scale: tuple[float, float],
    vertical: bool,
    brightness: float,
    contrast: float,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """A random affine map, mirroring and colour change for each image.

    Args:
        degrees: rotation up to this angle. shift: up to this fraction of the side. scale: factor range.
        vertical: mirror top to bottom too (where up has no meaning).
    """
    steps = v2.Compose(
        [
            v2.RandomAffine(
                degrees=degrees, translate=(shift, shift), scale=scale, interpolation=v2.InterpolationMode.BILINEAR
            ),
            v2.ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue),
        ]
    )

    def apply(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        for axis in (-1, -2) if vertical else (-1,):
            mirrored = torch.rand(len(images), generator=draw) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(axis), images)
        return normalise(torch.stack([steps(image) for image in images]))

    return apply
