"""What the methods share: the loop over targets, the forward function of one target, the result."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from explainers.targets import score
from explainers.types import Attribution, ExplainerSpec, ParamValue, Support
from models.context import RunContext
from models.preprocess import Prepared
from models.types import FloatArray, Target

BATCH = 8  # inputs in one forward; on a CPU near the fastest for every method here, and it bounds the memory


@dataclass(frozen=True, eq=False)
class Result:
    """One target's map before it becomes an ``Attribution``; the fields mean the same there."""

    values: FloatArray
    native: FloatArray | None = None
    completeness_error: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class PerTarget(ABC):
    """An explainer that treats its targets one after the other; subclasses give ``spec`` and ``attribute``."""

    spec: ExplainerSpec

    def supports(self, module: nn.Module, layer: str) -> Support:
        """Any network with one score a class will do; a subclass that needs more says so."""
        return Support(True)

    def explain(
        self,
        module: nn.Module,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
        ctx: RunContext,
    ) -> tuple[Attribution, ...]:
        """One attribution a target; see ``explainers.types.Explainer``."""
        ctx.check()
        return tuple(self._timed(module, prepared, target, params, seed) for target in targets)

    @abstractmethod
    def attribute(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Result:
        """The raw map of one target, (C, H, W) float32 on the input grid."""

    def _timed(
        self, module: nn.Module, prepared: Prepared, target: Target, params: Mapping[str, ParamValue], seed: int
    ) -> Attribution:
        started = time.perf_counter()
        result = self.attribute(module, prepared, target, params, seed)
        return attribution(self.spec, target, result, params, seed, time.perf_counter() - started)


def attribution(
    spec: ExplainerSpec, target: Target, result: Result, params: Mapping[str, ParamValue], seed: int, runtime_s: float
) -> Attribution:
    """A method's result with everything that belongs to it."""
    return Attribution(
        method=spec.id,
        title=spec.title,
        target=target,
        values=result.values,
        signed=spec.signed,
        unit=spec.unit if target.output != "probability" else spec.unit.replace("logit", "probability"),
        params=params,
        seed=seed,
        runtime_s=runtime_s,
        native=result.native,
        completeness_error=result.completeness_error,
        facts=result.facts,
    )


def own_input(prepared: Prepared) -> Tensor:
    """A copy of the (1, C, H, W) input that a library may mark, so that the caller's tensor stays untouched."""
    return prepared.tensor.detach().clone()


def scorer(module: nn.Module, target: Target) -> Callable[[Tensor], Tensor]:
    """The function that is explained: (N, C, H, W) inputs to (N,) scores."""
    return lambda inputs: score(module(inputs), target)


def scores(module: nn.Module, inputs: Tensor, target: Target) -> list[float]:
    """The target's score of every input, without gradients; one forward call."""
    with torch.no_grad():
        return [float(value) for value in score(module(inputs), target)]


def to_array(values: Tensor) -> FloatArray:
    """A contiguous float32 array of its own."""
    return np.array(values.detach().cpu().numpy(), dtype=np.float32, order="C")


def completeness_error(values: FloatArray, score_difference: float) -> float:
    """(sum of the map - score difference) / max(|score difference|, 1e-6)."""
    return (float(values.sum(dtype=np.float64)) - score_difference) / max(abs(score_difference), 1e-6)
