"""What stands for "no information" in an input: the reference that several methods compare the image with."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from explainers.types import Param
from models.preprocess import Prepared

BASELINES = ("black", "blurred", "mean")
BLUR = 0.1  # standard deviation of the blur, as a fraction of the input's shorter side


def baseline_param(name: str, title: str, default: str, extra: tuple[str, ...] = ()) -> Param:
    """The choice of a baseline, for a method's spec."""
    return Param(
        name,
        title,
        "choice",
        default,
        help="black: black pixels as the network sees them after normalisation; blurred: the image without its detail; "
        "mean: the training images' mean.",
        choices=(*extra, *BASELINES),
    )


def baseline(prepared: Prepared, kind: str) -> Tensor:
    """The baseline input, (1, C, H, W) float32, normalised like the image and on its device.

    Args:
        kind: "black" is ``prepared.black``, which is zero only where the network is fed unnormalised images;
            "mean" is ``prepared.mean``; "blurred" is the image under a Gaussian of ``BLUR`` times its shorter side.
    """
    image = prepared.tensor.detach()
    if kind == "blurred":
        spatial = image.shape[2:]
        sigma = (0.0, 0.0) + (BLUR * min(spatial),) * len(spatial)
        return torch.from_numpy(gaussian_filter(image.cpu().numpy(), sigma, mode="nearest")).to(image)
    colour = prepared.black if kind == "black" else prepared.mean
    return colour.to(image).view(1, -1, *(1,) * (image.ndim - 2)).expand_as(image).clone()
