"""What a step of preprocessing is, what it is given and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from explainers.types import Param, ParamValue, resolved
from models.context import RunContext
from models.errors import DataError
from models.registry import Registry
from models.types import FloatArray, Image, default_window

BoolArray = NDArray[np.bool_]
Matrix = NDArray[np.float64]  # (4, 4), an affine map of (column, row, slice, 1)
Level = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class StepSpec:
    """What a step says of itself.

    Attributes:
        purpose: one line for somebody who has not heard of it.
        params: settings with bounds; the interface builds its controls from them.
        order: place among the others where nothing else is said.
        paper: authors, journal and year; "" where there is none.
    """

    id: str
    title: str
    purpose: str
    params: tuple[Param, ...] = ()
    order: int = 100
    paper: str = ""

    def resolve(self, given: Mapping[str, Any]) -> dict[str, ParamValue]:
        """All settings, checked, the missing ones filled in. Raises DataError for an unknown name or a value out of bounds."""
        return resolved(self.title, self.params, given, DataError)


@dataclass(frozen=True)
class Measure:
    """A number that tells whether a step did well.

    Attributes:
        low, high: what is expected, inclusive; None where there is no bound on that side.
        source: where the bounds come from; "" where there are none.
    """

    name: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    source: str = ""

    @property
    def expected(self) -> bool:
        """Within the bounds."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def bounds(self) -> str:
        """In words: "900 to 2000 ml", "at least 0.9"; "" where there are none."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None:
            return "" if self.high is None else f"at most {self.high:g}{unit}"
        return f"at least {self.low:g}{unit}" if self.high is None else f"{self.low:g} to {self.high:g}{unit}"


@dataclass(frozen=True)
class Verdict:
    """How a step went: "pass"; "warn", done but to be looked at; "fail", not done, the image is as it was.

    Attributes:
        sentence: for people.
        measures: the headline first.
    """

    level: Level
    sentence: str
    measures: tuple[Measure, ...] = ()

    @classmethod
    def of(cls, sentence: str, *measures: Measure) -> Verdict:
        """Pass where all measures are as expected, else warn, with the first that is not named."""
        odd = next((measure for measure in measures if not measure.expected), None)
        if odd is None:
            return cls("pass", sentence, measures)
        unit = f" {odd.unit}" if odd.unit else ""
        return cls(
            "warn", f"{sentence} {odd.name} is {odd.value:.3g}{unit}, expected {odd.bounds}: look at it.", measures
        )


@dataclass(frozen=True, eq=False)
class State:
    """What a step finds besides the image.

    Attributes:
        mask: (D, H, W) the part that counts (brain, lungs) on the image's grid, where a step before has found it.
        native: the image before the first step, in the same millimetres.
        reference: what the image is to be registered to.
        ctx: asked now and then whether to stop.
        seed: of steps that draw at random.
    """

    mask: BoolArray | None = None
    native: Image | None = None
    reference: Image | None = None
    ctx: RunContext = field(default_factory=RunContext)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step hands back.

    Attributes:
        image: with the geometry of its grid.
        to_before: index (column, row, slice, 1) on the new grid to that on the grid before; None for the same grid.
        mask: (D, H, W) on the new grid, where the step found one; None carries the one before along.
        rescaled: values have another scale than before, so that one window does not serve both.
        extras: further arrays (D, H, W) float32 on the new grid, by name ("log bias field").
    """

    image: Image
    verdict: Verdict
    to_before: Matrix | None = None
    mask: BoolArray | None = None
    rescaled: bool = False
    extras: Mapping[str, FloatArray] = field(default_factory=dict)


class Step(Protocol):
    """A step. Stateless: everything it needs comes in, everything it makes goes out; the same input gives the same bytes."""

    spec: StepSpec

    def applies(self, image: Image) -> str | None:
        """Why the step cannot be done on such an image, in one sentence; None where it can."""
        ...

    def run(self, image: Image, params: Mapping[str, ParamValue], state: State) -> StepResult:
        """The step itself. Raises a SightlineError where it cannot be done; the image is then left as it was."""
        ...


STEPS: Registry[Step] = Registry("preparation step")


def voxels(image: Image) -> FloatArray:
    """(D, H, W) values of a grey image; a plane image has one slice. Raises DataError for colour."""
    if image.is_colour:
        raise DataError("The image is in colour; this step works on the grey values of a scan.")
    return image.values[0] if image.is_volume else image.values


def with_values(image: Image, values: FloatArray, rescaled: bool = False) -> Image:
    """The image with other (D, H, W) values on its grid; windows stay, unless they were made from the values.

    Args:
        rescaled: the values have another scale, and so no unit.
    """
    shaped = np.asarray(values[None] if image.is_volume else values, np.float32)
    if rescaled:
        return replace(image, values=shaped, unit="stored value", windows=(), within=None)
    automatic = image.windows == (default_window(image.values, image.unit),)
    return replace(image, values=shaped, windows=() if automatic else image.windows, within=None)
