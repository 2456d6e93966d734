"""A U-Net on an ImageNet encoder, which also answers for the image as a whole.

Every explainer asks a network for one number a class. A segmentation network gives a map, so the U-Net pools it:
the logit of a class is the mean over its most suspicious pixels (the upper 1 %), which is differentiable and says
what a reader asks, "is there any, and why there?". Pooled-score explanations of segmentation follow Vinogradova et
al. 2020 (Seg-Grad-CAM, arXiv:2002.11434). Differs: the pixels are the highest ones rather than a chosen region.

Encoder and decoder as Ronneberger et al. 2015 (arXiv:1505.04597), with bilinear upsampling.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

TOP_SHARE = 0.01
WIDTHS = (128, 64, 40, 24)


class UNet(nn.Module):
    """(n, C, H, W) to (n, K) pooled logits; :meth:`masks` gives the (n, K, H, W) pixel logits."""

    def __init__(self, encoder: str, classes: int, channels: int = 3, drop_path: float = 0.0) -> None:
        import timm  # as in ModelHandle.load

        super().__init__()
        self.encoder = timm.create_model(
            encoder, pretrained=False, features_only=True, in_chans=channels, drop_path_rate=drop_path
        )
        depths = self.encoder.feature_info.channels()[::-1]
        widths = (depths[0], *WIDTHS)
        self.decoder = nn.ModuleList(
            _Block(below + skip, width) for below, skip, width in zip(widths, depths[1:], widths[1:], strict=False)
        )
        self.head = nn.Conv2d(widths[-1], classes, 1)
        self.penultimate = nn.Identity()  # where the image's features can be read

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return pool(self.masks(inputs))

    def masks(self, inputs: torch.Tensor) -> torch.Tensor:
        """(n, K, H, W) logits, one a pixel and class."""
        levels = self.encoder(inputs)[::-1]
        out = levels[0]
        self.penultimate(functional.adaptive_avg_pool2d(out, 1).flatten(1))
        for block, skip in zip(self.decoder, levels[1:], strict=True):
            out = functional.interpolate(out, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            out = block(torch.cat([out, skip], dim=1))
        return functional.interpolate(self.head(out), size=inputs.shape[-2:], mode="bilinear", align_corners=False)


def pool(masks: torch.Tensor) -> torch.Tensor:
    """(n, K, H, W) pixel logits to (n, K): the mean of the highest ``TOP_SHARE`` of an image's pixels."""
    pixels = masks.flatten(2)
    most = max(1, round(int(pixels.shape[-1]) * TOP_SHARE))  # an int also while the network is traced
    return pixels.topk(most, dim=-1).values.mean(-1)


class _Block(nn.Sequential):
    """Twice 3 x 3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
