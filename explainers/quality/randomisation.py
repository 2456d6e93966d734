"""Does the map depend on what the network learnt? Weights drawn anew, layer after layer (Adebayo et al. 2018).

A property of a network and a method, not of an image: measured once (:func:`measure`, by the command ``hunt``), stored
beside the card, and read by the check. The pass rule is that of Arun et al. 2021:
with all weights drawn anew, the map must resemble the true one less, on average, than two maps of different images
resemble each other. Adebayo et al. also call a map invariant that does not follow the upper layers; that is asked here by
how alike it stays with the upper third drawn anew, which guided backpropagation does and gradients do not.

Differs: HOG similarity is left out; several fully random copies instead of one, so that no single draw decides; what
counts is the interval of the margin, not the means alone; maps are compared at the scale of a hundredth of the picture
(:func:`explainers.quality._similarity.shown`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from explainers.quality._randomise import CHEAP_SETTINGS, VIEWS, measure, usual
from explainers.quality._randomised import (
    FILE,
    RULE,
    RandomisationResult,
    StageSimilarity,
    StoredRandomisation,
    looks_same,
    stored,
)
from explainers.quality.types import CHECKS, CheckSpec, Evidence, Verdict
from models.card import ModelCard

__all__ = [
    "CHEAP_SETTINGS", "FILE", "RandomisationResult", "StageSimilarity", "StoredRandomisation", "doubts", "measure", "stored", "usual",
]  # fmt: skip

RUN = "python -m dashboard hunt {} --parts weights --keep"


def doubts(card: ModelCard) -> dict[str, tuple[str, str]]:
    """By method that fails for this model: the layer it was measured at ("" where it has none), and why in a few words."""
    found = {}
    for method, result in stored(card).items():
        if result.level == "fails":
            same = looks_same(result.cascade[-1]) or looks_same(result.upper_third)
            why = "it looks the same with random weights" if same else "it resembles itself even with random weights"
            found[method] = (str(result.params.get("layer", "")), f"{why} of this model")
    return found


class Randomisation:
    """See the module; no pass of the network."""

    spec = CheckSpec(
        id="randomisation",
        title="Depends on what was learnt",
        question="Does the map change when the network's weights are replaced by random ones?",
        measure="margin of similarity",
        unit="",
        paper="Adebayo et al. 2018, arXiv:1810.03292; Arun et al. 2021, doi:10.1148/ryai.2021200267",
        order=10,
        brief="depends on learning {}",
    )

    def cost(self, evidence: Evidence) -> int:
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        card, own = evidence.subject.card, evidence.attribution
        if card is None:
            yield self._unknown("Not known which model made this map, so no result can be looked up.")
            return
        result = evidence.subject.once(("randomisation", card.id), lambda: stored(card)).get(own.method)
        if result is None:
            yield self._unknown(f"Not run for this model and method; {RUN.format(card.id)} runs it.")
        elif result.params.get("layer") != own.params.get("layer"):
            yield self._unknown(
                f"Measured for layer {result.params.get('layer')} only; this map is of {own.params.get('layer')}."
            )
        elif result.level == "not assessable":
            yield self._unknown(f"Stopped before its end for this model; {RUN.format(card.id)} runs it again.")
        else:
            yield self._verdict(result)

    def _unknown(self, why: str) -> Verdict:
        return Verdict(self.spec.id, "not assessable", why, expected=RULE.source)

    def _verdict(self, result: RandomisationResult) -> Verdict:
        full = result.cascade[-1]
        with_random, pairs = full.ssim["absolute"], result.pairs["absolute"]
        upper = result.upper_third.ssim["absolute"]
        numbers = f"(similarity {with_random.mean:.2f}; two maps of different images: {pairs.mean:.2f})"
        sentence = {
            "ok": f"With random weights the map looks different {numbers}: it depends on what the network learnt.",
            "weak": f"With random weights the map is about as similar as a map of another image {numbers}: how much of"
            " it comes from what the network learnt cannot be said.",
            "fails": f"With random weights the map still resembles itself more than a map of another image does {numbers}:"
            " part of it is the picture itself or the network's build, not what was learnt.",
        }[result.level]
        if looks_same(full):
            sentence = (
                f"The map looks the same with random weights {numbers}: it shows the picture's outlines, not what was learnt,"
                " and says nothing about this decision."
            )
        elif looks_same(result.upper_third):
            sentence = (
                f"The map looks the same (similarity {upper.mean:.2f}) with the upper third of the network random: it shows the"
                " picture's outlines, not what was learnt, and says little about this decision."
            )
        elif result.level == "weak" and looks_same(result.cascade[0]):
            sentence = (
                "The map looks the same with the layer that tells the classes apart random: it shows where the network"
                " looks, but would be the same for another class."
            )
        curves = {
            f"{name}, {view}": np.array([np.nan if one[view].mean is None else one[view].mean for one in values])
            for view in VIEWS
            for name, values in (
                ("structural similarity", [stage.ssim for stage in result.cascade]),
                ("rank correlation", [stage.rank for stage in result.cascade]),
            )
        }
        return Verdict(
            self.spec.id,
            result.level,
            sentence,
            value=result.margin.mean,
            low=result.margin.low,
            high=result.margin.high,
            n=result.margin.n,
            expected=f"above 0: {RULE.source}",
            curves=curves,
            facts={
                "stages": ", ".join(stage.stage for stage in result.cascade),
                "similarity, signed": f"{full.ssim['signed'].words}; pairs {result.pairs['signed'].words}",
                "rank correlation, absolute": full.rank["absolute"].words,
                "rank correlation, signed": full.rank["signed"].words,
                "settings measured": ", ".join(f"{name} {value}" for name, value in result.params.items()) or "none",
            },
        )


CHECKS.register(Randomisation.spec.id, Randomisation())
