"""Pictures to network inputs, plain or randomly changed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the ImageNet weights
# (n, C, H, W) uint8 pictures with their labels or masks, to network inputs with labels or masks.
Augment = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """(n, 3, H, W) uint8 to the network's float32."""
    return (pictures.float().div(255) - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def augmentation(
    degrees: float,
    shift: float,
    scale: tuple[float, float],
    brightness: float,
    contrast: float,
    vertical: bool = False,
    saturation: float = 0.0,
    hue: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    erase: float = 0.0,
) -> Augment:
    """A random affine map, mirroring and change of colour for each picture; masks follow the geometry.

    Args:
        degrees: rotation up to this angle. shift: up to this fraction of the side. scale: factor range.
        vertical: mirror top to bottom too (where up has no meaning).
        blur, erase: share of pictures that are blurred, or have a rectangle of up to a fifth erased.
        noise: largest standard deviation of added noise, in units of the full range.
    """
    steps: list[torch.nn.Module] = [v2.RandomHorizontalFlip()]
    if vertical:
        steps.append(v2.RandomVerticalFlip())
    steps += [
        v2.RandomAffine(
            degrees=degrees, translate=(shift, shift), scale=scale, interpolation=v2.InterpolationMode.BILINEAR
        ),
        v2.ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue),
    ]
    if blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.2))], p=blur))
    if erase:
        steps.append(v2.RandomErasing(p=erase, scale=(0.02, 0.2)))
    change = v2.Compose(steps)

    def apply(pictures: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if labels.ndim == 4:
            pairs = [
                change(tv_tensors.Image(picture), tv_tensors.Mask(mask))
                for picture, mask in zip(pictures, labels, strict=True)
            ]
            pictures, labels = (torch.stack([pair[k].as_subclass(torch.Tensor) for pair in pairs]) for k in (0, 1))
        else:
            pictures = torch.stack([change(picture) for picture in pictures])
        inputs = normalise(pictures)
        if noise:
            strength = torch.rand(len(inputs), 1, 1, 1) * noise / 0.225
            inputs = inputs + strength * torch.randn_like(inputs)
        return inputs, labels

    return apply
