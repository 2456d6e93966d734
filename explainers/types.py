"""What an explainer is, what it is asked and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from torch import nn

from models.errors import ExplainError, SightlineError
from models.preprocess import Prepared
from models.types import FloatArray, Target

if TYPE_CHECKING:  # which itself speaks of attributions
    from explainers.passes import Passes

ParamValue = int | float | str
Family = Literal["activation", "gradient", "perturbation"]


@dataclass(frozen=True)
class Param:
    """One setting of a method; the user interface builds its control from this alone.

    Attributes:
        kind: "layer" is the dotted name of a module of the network; its default "" stands for the card's
            first target layer.
        low, high, step: bounds of "int" and "float", inclusive.
        unit: shown beside the control ("px", "steps").
    """

    name: str
    title: str
    kind: Literal["int", "float", "choice", "layer"]
    default: ParamValue
    help: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""

    def check(self, value: Any, method: str) -> ParamValue:
        """The value in the right type. Raises ExplainError naming what was expected."""
        if self.kind in ("int", "float"):
            number = _number(value)
            if number is None or (self.kind == "int" and number != int(number)):
                raise ExplainError(
                    f"{method}: {self.name} must be {'a whole number' if self.kind == 'int' else 'a number'}, got {value!r}."
                )
            if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
                raise ExplainError(
                    f"{method}: {self.name} must lie between {self.low:g} and {self.high:g}, got {value!r}."
                )
            return int(number) if self.kind == "int" else number
        if self.kind == "choice" and value not in self.choices:
            raise ExplainError(f"{method}: {self.name} must be one of {', '.join(self.choices)}, got {value!r}.")
        return str(value)


def resolved(
    title: str, params: Sequence[Param], given: Mapping[str, Any], error: type[SightlineError], noun: str = "setting"
) -> dict[str, ParamValue]:
    """All params with defaults filled in and values checked.

    Args:
        title: of what has the params.
        error: what is raised for an unknown name or a value out of bounds.
        noun: what a param is called there.
    """
    known = {param.name: param for param in params}
    for name in given:
        if name not in known:
            raise error(f"{title} has no {noun} {name!r}; it has {', '.join(known) or 'none'}.")
    try:
        return {name: param.check(given.get(name, param.default), title) for name, param in known.items()}
    except ExplainError as wrong:
        raise error(str(wrong)) from None


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


@dataclass(frozen=True)
class ExplainerSpec:
    """What a method says of itself.

    Attributes:
        signed: True where negative values carry meaning (evidence against the class).
        unit: unit of a value for a logit target, e.g. "logit" (integrated gradients), "logit / unit input".
        dims: spatial dimensions it can explain, e.g. (2, 3).
        cost: number of inputs that the network passes, however many targets share them, from resolved params and
            input (H, W); progress is measured against it, and what an input takes predicts the time.
        paper: authors, year and identifier.
        order: place in lists; also the order of streaming (cheap first).
    """

    id: str
    title: str
    family: Family
    signed: bool
    unit: str
    dims: tuple[int, ...]
    needs_gradient: bool
    params: tuple[Param, ...]
    cost: Callable[[Mapping[str, ParamValue], tuple[int, int]], int]
    paper: str
    summary: str
    order: int = 100

    def resolve(self, given: Mapping[str, Any]) -> dict[str, ParamValue]:
        """All params with defaults filled in and values checked. Raises ExplainError for unknown names."""
        return resolved(self.title, self.params, given, ExplainError, "parameter")


@dataclass(frozen=True)
class Support:
    """Whether a method can explain a model, and if not, why, in one sentence."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Attribution:
    """One map: raw, as the method defines it; never scaled, clipped or coloured.

    Attributes:
        values: (C, H, W) float32 on the model-input grid, read-only; C is the number of input channels
            (gradient methods) or 1 (the others).
        native: (h, w) float32 map on the layer grid where the method works on one (CAMs), else None.
        params: resolved parameters.
        completeness_error: (sum of values - (score(x) - score(baseline))) / max(|difference|, 1e-6), for
            methods that promise completeness, else None.
        facts: further things worth showing, e.g. {"score": "1.23", "baseline score": "-0.40"}.
    """

    method: str
    title: str
    target: Target
    values: FloatArray
    signed: bool
    unit: str
    params: Mapping[str, ParamValue]
    seed: int
    runtime_s: float
    native: FloatArray | None = None
    completeness_error: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        if values.ndim < 3 or not np.isfinite(values).all():
            raise ExplainError(f"{self.title} gave a map that is not finite; try other parameters.")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))


class Explainer(Protocol):
    """A method. Stateless: everything it needs comes in, everything it makes goes out."""

    spec: ExplainerSpec

    def supports(self, module: nn.Module, layer: str) -> Support:
        """Whether this network can be explained, given the target layer that would be used."""
        ...

    def explain(
        self,
        passes: Passes,
        prepared: Prepared,
        targets: Sequence[Target],
        params: Mapping[str, ParamValue],
        seed: int,
    ) -> tuple[Attribution, ...]:
        """One attribution a target, in order.

        Ask ``passes`` for scores, gradients and layers, and they are batched, shared between targets and run on the
        fastest back end; ``passes.network()`` lends the plain network for anything else. ``params`` are resolved, the layer
        name filled in.
        """
        ...
