"""SmoothGrad: the input gradient averaged over noisy copies of the image (Smilkov et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from explainers.methods._base import AnyNetwork, Maker, Result, generator, to_array
from explainers.passes import Passes
from explainers.registry import EXPLAINERS
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return int(params["samples"])


class SmoothGrad(AnyNetwork):
    """Mean of d score / d input at x + e, e Gaussian with ``noise`` times the input's range as standard deviation.

    Differs: each copy draws from a generator of its own, seeded by ``seed`` and its number and on the CPU, so that
    runs repeat on any device and in any batches, and do not disturb one another.
    """

    spec = ExplainerSpec(
        id="smooth-grad",
        title="SmoothGrad",
        family="gradient",
        signed=True,
        unit="logit / unit input",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param("samples", "Noisy copies", "int", 32, low=2, high=500, step=1, unit="samples"),
            Param(
                "noise",
                "Noise",
                "float",
                0.15,
                help="Standard deviation, as a fraction of the input's range.",
                low=0.0,
                high=1.0,
                step=0.05,
            ),
        ),
        cost=_cost,
        paper="Smilkov et al. 2017, arXiv:1706.03825",
        summary="Saliency with its noise averaged out.",
        order=23,
    )

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        """See ``explainers.types.Explainer``."""
        made = Maker(self.spec, params, seed)
        image, samples = prepared.tensor, int(params["samples"])
        deviation = float(params["noise"]) * float(image.max() - image.min())

        def copies(part: slice) -> Tensor:
            numbers = range(part.start, part.stop)
            noise = torch.stack([torch.randn(image.shape[1:], generator=generator(seed, number)) for number in numbers])
            return image + deviation * noise.to(image)

        total = torch.zeros(len(targets), *image.shape[1:], dtype=torch.float64, device=image.device)
        for _, _, found in passes.gradients(samples, copies, targets):
            total += found.double().sum(dim=1)
        return tuple(
            made.attribution(target, Result(to_array(one / samples)))
            for target, one in zip(targets, total, strict=True)
        )


EXPLAINERS.register(SmoothGrad.spec.id, SmoothGrad())
