"""GradientSHAP, or expected gradients (Lundberg and Lee 2017; Erion et al., Nat. Mach. Intell. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from explainers.methods._base import AnyNetwork, Maker, Result, completeness_error, generator, scores, to_array
from explainers.methods._baselines import BASELINES, baseline, baseline_param
from explainers.passes import BATCH, Passes
from explainers.registry import EXPLAINERS
from explainers.types import Attribution, ExplainerSpec, Param, ParamValue
from models.preprocess import Prepared
from models.types import Target


def _cost(params: Mapping[str, ParamValue], input_shape: tuple[int, int]) -> int:
    return 1 + 2 * int(params["samples"])  # the image; each sample's gradient and baseline score


class GradientShap(AnyNetwork):
    """Mean over baselines b and a uniform in [0, 1] of (x - b) times d score / d input at b + a (x - b).

    The baselines: the paper draws them from training images, which this application does not hold. Each sample
    takes instead the black, blurred or mean image (one of the three at random for "mixed", else the one named)
    plus Gaussian noise with ``spread`` times the input's range as standard deviation.

    Differs: each sample draws from a generator of its own on the CPU, seeded by ``seed`` and its number, where captum
    draws from numpy's and torch's process-wide generators and holds all samples at once. The completeness error
    compares with the mean score of the baselines drawn and holds the sampling error of ``samples`` draws.
    """

    spec = ExplainerSpec(
        id="gradient-shap",
        title="GradientSHAP (expected gradients)",
        family="gradient",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=(
            Param(
                "samples",
                "Samples",
                "int",
                48,
                help="Pairs of a baseline and a point on the way from it.",
                low=2,
                high=1000,
                step=1,
                unit="samples",
            ),
            baseline_param("baseline", "Baselines", "mixed", extra=("mixed",)),
            Param(
                "spread",
                "Spread",
                "float",
                0.1,
                help="Noise on the baselines, as a fraction of the input's range.",
                low=0.0,
                high=1.0,
                step=0.05,
            ),
        ),
        cost=_cost,
        paper="Erion et al. 2021, arXiv:1906.10670",
        summary="Integrated gradients averaged over many baselines, so that no single one decides.",
        order=21,
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
        kinds = BASELINES if params["baseline"] == "mixed" else (str(params["baseline"]),)
        references = torch.cat([baseline(prepared, kind) for kind in kinds])
        deviation = float(params["spread"]) * float(image.max() - image.min())

        def drawn(part: slice) -> tuple[Tensor, Tensor]:
            pairs = [_draw(references, deviation, generator(seed, number)) for number in range(part.start, part.stop)]
            return torch.stack([start for start, _ in pairs]), torch.tensor([along for _, along in pairs]).to(image)

        def points(part: slice) -> Tensor:
            starts, along = drawn(part)
            return starts + along.view(-1, 1, 1, 1) * (image - starts)

        score = scores(passes.logits(image), targets)
        total = torch.zeros(len(targets), *image.shape[1:], dtype=torch.float64, device=image.device)
        for part, _, found in passes.gradients(samples, points, targets):
            total += ((image - drawn(part)[0]) * found).double().sum(dim=1)
        start_scores = [0.0] * len(targets)
        for first in range(0, samples, BATCH):
            starts = drawn(slice(first, min(samples, first + BATCH)))[0]
            for number, found_scores in enumerate(scores(passes.logits(starts), targets)):
                start_scores[number] += sum(found_scores) / samples
        results = []
        for target, (own,), start, one in zip(targets, score, start_scores, total, strict=True):
            values = to_array(one / samples)
            facts = {"score": f"{own:.4g}", "mean baseline score": f"{start:.4g}"}
            error = completeness_error(values, own - start)
            results.append(made.attribution(target, Result(values, completeness_error=error, facts=facts)))
        return tuple(results)


def _draw(references: Tensor, deviation: float, numbers: torch.Generator) -> tuple[Tensor, float]:
    """A baseline (C, H, W), a reference at random plus noise, and how far along the way from it the point lies."""
    chosen = references[int(torch.randint(len(references), (1,), generator=numbers))]
    along = float(torch.rand(1, generator=numbers))
    return chosen + deviation * torch.randn(chosen.shape, generator=numbers).to(references), along


EXPLAINERS.register(GradientShap.spec.id, GradientShap())
