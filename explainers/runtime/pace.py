"""How long a network takes, by what its passes took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainers.types import ExplainerSpec, ParamValue


@dataclass(frozen=True)
class Pace:
    """What is known at one moment.

    Attributes:
        seconds: an input takes, by family of methods, and "scores" in batches without gradients.
        height, width: of an input, in pixels.
    """

    seconds: Mapping[str, float]
    height: int
    width: int

    def forecast(self, spec: ExplainerSpec, params: Mapping[str, ParamValue], targets: int = 1) -> float:
        """Seconds that a method will take."""
        per_input = self.seconds[spec.family]
        if spec.family == "gradient":
            per_input *= (1 + 2 * targets) / 3  # a backward pass is about two forward passes
        return per_input * spec.cost(params, (self.height, self.width))

    def seconds_for(self, inputs: int) -> float:
        """Seconds that so many inputs will take in batches, without gradients."""
        return self.seconds["scores"] * inputs
