"""Saliency: the gradient of the score with respect to the input (Simonyan et al., 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explainers.methods._base import AnyNetwork, Maker, Result, to_array
from explainers.passes import Passes
from explainers.registry import EXPLAINERS
from explainers.types import Attribution, ExplainerSpec, ParamValue
from models.preprocess import Prepared
from models.types import Target


class Saliency(AnyNetwork):
    """d score / d input, per channel.

    Differs: the paper shows the largest magnitude over channels; sign and channels are the reader's choice here.
    """

    spec = ExplainerSpec(
        id="saliency",
        title="Saliency (input gradient)",
        family="gradient",
        signed=True,
        unit="logit / unit input",
        dims=(2,),
        needs_gradient=True,
        params=(),
        cost=lambda params, input_shape: 1,
        paper="Simonyan et al. 2014, arXiv:1312.6034",
        summary="Which pixels would change the score fastest if they changed a little; noisy.",
        order=22,
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
        ((_, _, found),) = passes.gradients(1, lambda part: prepared.tensor[part], targets)
        return tuple(
            made.attribution(target, Result(to_array(one[0]))) for target, one in zip(targets, found, strict=True)
        )


EXPLAINERS.register(Saliency.spec.id, Saliency())
