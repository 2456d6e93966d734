"""What the methods share: from maps to attributions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from explainers.targets import score
from explainers.types import Attribution, ExplainerSpec, ParamValue, Support
from models.types import FloatArray, Target


@dataclass(frozen=True, eq=False)
class Result:
    """One target's map before it becomes an ``Attribution``; the fields mean the same there."""

    values: FloatArray
    native: FloatArray | None = None
    completeness_error: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class AnyNetwork:
    """A method for any network with one score a class."""

    def supports(self, module: nn.Module, layer: str) -> Support:
        return Support(True)


class Maker:
    """Makes attributions of one request; their runtime counts from here, and is that of all targets together."""

    def __init__(self, spec: ExplainerSpec, params: Mapping[str, ParamValue], seed: int) -> None:
        self._spec, self._params, self._seed = spec, params, seed
        self._started = time.perf_counter()

    def attribution(self, target: Target, result: Result) -> Attribution:
        spec = self._spec
        return Attribution(
            method=spec.id,
            title=spec.title,
            target=target,
            values=result.values,
            signed=spec.signed,
            unit=spec.unit if target.output != "probability" else spec.unit.replace("logit", "probability"),
            params=self._params,
            seed=self._seed,
            runtime_s=time.perf_counter() - self._started,
            native=result.native,
            completeness_error=result.completeness_error,
            facts=result.facts,
        )


def scores(logits: Tensor, targets: Sequence[Target]) -> list[list[float]]:
    """Every target's score of every input, from (N, K) logits."""
    return [[float(value) for value in score(logits, target)] for target in targets]


def to_array(values: Tensor) -> FloatArray:
    """A contiguous float32 array of its own."""
    return np.array(values.detach().cpu().numpy(), dtype=np.float32, order="C")


def completeness_error(values: FloatArray, score_difference: float) -> float:
    """(sum of the map - score difference) / max(|score difference|, 1e-6)."""
    return (float(values.sum(dtype=np.float64)) - score_difference) / max(abs(score_difference), 1e-6)


def generator(seed: int, number: int) -> torch.Generator:
    """The random numbers of one sample of one request, the same in whatever batch it is drawn."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
