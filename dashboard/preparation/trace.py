"""Steps run one after another, each recorded: what it made of the image, how long it took, whether that is plausible."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dashboard.preparation import steps as step_files
from dashboard.preparation.grids import (
    at,
    carried,
    inverse,
    plane_to_native,
    shape_of,
    slice_to_native,
)
from dashboard.preparation.pictures import Picture, picture
from dashboard.preparation.types import STEPS, BoolArray, Matrix, State, Step, StepResult, Verdict
from explainers.types import ParamValue
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.registry import discover
from models.types import FloatArray, Geometry, Image, Window

discover(step_files)


@dataclass(frozen=True)
class StepChoice:
    """A step as the reader wants it; one that is off is left out."""

    step_id: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    on: bool = True

    @property
    def step(self) -> Step:
        """Raises DataError for an unknown id."""
        return STEPS.get(self.step_id, DataError)


@dataclass(frozen=True, eq=False)
class Stage:
    """The image between two steps.

    Attributes:
        mask: (D, H, W) the part that counts, on the image's grid.
        to_native: index (column, row, slice, 1) on the image's grid to index on the native one.
        extras: arrays (D, H, W) that steps left behind, each with the geometry of its grid.
    """

    image: Image
    mask: BoolArray | None
    to_native: Matrix
    extras: Mapping[str, tuple[FloatArray, Geometry | None]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Record:
    """One step as it went.

    Attributes:
        params: resolved.
        before, after: planes through the same place of the body; in the same window, unless the values' scale changed.
        extra, extra_name: a further picture ("log bias field").
    """

    step_id: str
    title: str
    purpose: str
    params: Mapping[str, ParamValue]
    verdict: Verdict
    seconds: float
    before: Picture
    after: Picture
    extra: Picture | None = None
    extra_name: str = ""


@dataclass(frozen=True, eq=False)
class Trace:
    """What became of an image.

    Attributes:
        stages: the native image, then one after each record.
    """

    choices: tuple[StepChoice, ...]
    records: tuple[Record, ...]
    stages: tuple[Stage, ...]
    reference: Image | None
    seed: int

    @property
    def native(self) -> Image:
        return self.stages[0].image

    @property
    def image(self) -> Image:
        """The prepared image."""
        return self.stages[-1].image

    @property
    def mask(self) -> BoolArray | None:
        return self.stages[-1].mask

    @property
    def to_native(self) -> Matrix:
        """(4, 4) index on the prepared grid to index on the native one."""
        return self.stages[-1].to_native

    def slice_for(self, native_slice: int) -> int:
        """The prepared slice through the middle of a native one, the nearest where that was cut away."""
        return prepared_slice(self.stages[-1], self.native, native_slice)

    def slice_to_native(self, values: FloatArray, index: int) -> FloatArray:
        """A map (H, W) of prepared slice ``index`` on the native grid, (D, H, W) float32, NaN where it does not reach."""
        return slice_to_native(values, index, self.to_native, shape_of(self.native))

    def plane_to_native(self, values: FloatArray, index: int, native_slice: int) -> FloatArray:
        """What of that lies on one native slice, (H, W) float32."""
        return plane_to_native(values, index, self.to_native, self.native.plane_shape, native_slice)

    def share_known(self, native_slice: int) -> float:
        """The part of a native slice, [0, 1], that the prepared slice through its middle reaches."""
        there = np.ones(self.image.plane_shape, np.float32)
        return float(np.isfinite(self.plane_to_native(there, self.slice_for(native_slice), native_slice)).mean())


def prepared_slice(stage: Stage, native: Image, native_slice: int) -> int:
    """Index of the slice of ``stage`` that holds the middle of a native slice."""
    height, width = native.plane_shape
    place = at(inverse(stage.to_native), ((width - 1) / 2, (height - 1) / 2, float(native_slice)))
    return int(np.clip(np.rint(place[2]), 0, stage.image.depth - 1))


def run_steps(
    image: Image,
    chosen: Sequence[StepChoice],
    ctx: RunContext | None = None,
    reference: Image | None = None,
    seed: int = 0,
    show: Callable[[Trace], None] = lambda trace: None,
) -> Trace:
    """Run the steps that are on, in the order given.

    A step that does not apply or fails is recorded with the reason, and the next one goes on with the image as it was.
    Args:
        reference: what the step "register" moves the image to.
        show: called with the trace so far after each step, which also ticks once.

    Raises:
        DataError: a step or a setting is unknown.
        Cancelled: the work was stopped.
    """
    ctx = ctx or RunContext()
    wanted = tuple(choice for choice in chosen if choice.on)
    resolved = tuple(replace(choice, params=choice.step.spec.resolve(choice.params)) for choice in wanted)
    trace = Trace(resolved, (), (Stage(image, None, np.eye(4)),), reference, seed)
    for choice in resolved:
        ctx.check()
        record, stage = _record(choice, trace.stages[-1], image, ctx, reference, seed)
        trace = replace(trace, records=(*trace.records, record), stages=(*trace.stages, stage))
        show(trace)
        ctx.tick()
    return trace


def rerun_without(trace: Trace, number: int, ctx: RunContext) -> tuple[Stage, tuple[str, ...]]:
    """What the image would be without record ``number``, and titles of the later steps that then fail.

    What came before is not done again, and what failed after it stays left out: one step alone makes the difference.
    """
    stage, failed = trace.stages[number], []
    for choice, record in list(zip(trace.choices, trace.records, strict=True))[number + 1 :]:
        if record.verdict.level == "fail":
            continue
        ctx.check()
        state = State(stage.mask, trace.native, trace.reference, ctx.quietly(), trace.seed)
        result, verdict = _done(choice, stage, state)
        if verdict.level == "fail":
            failed.append(record.title)
        stage = stage if result is None else _advanced(stage, result)
    return stage, tuple(failed)


def _record(
    choice: StepChoice, stage: Stage, native: Image, ctx: RunContext, reference: Image | None, seed: int
) -> tuple[Record, Stage]:
    began = time.perf_counter()
    result, verdict = _done(choice, stage, State(stage.mask, native, reference, ctx.quietly(), seed))
    seconds = time.perf_counter() - began
    after = stage if result is None else _advanced(stage, result)
    rescaled = result is not None and result.rescaled
    window = stage.image.windows[0]
    extra_name, extra = _extra(result)
    spec = choice.step.spec
    return Record(
        spec.id,
        spec.title,
        spec.purpose,
        choice.params,
        verdict,
        seconds,
        _pictured(stage, native, window),
        _pictured(after, native, after.image.windows[0] if rescaled else window),
        None if extra is None else _pictured(replace(after, image=extra), native, extra.windows[0]),
        extra_name,
    ), after


def _done(choice: StepChoice, stage: Stage, state: State) -> tuple[StepResult | None, Verdict]:
    """The step's result, or None and why it has none."""
    step = choice.step
    reason = step.applies(stage.image)
    if reason is not None:
        return None, Verdict("fail", f"{reason} The image stays as it was.")
    try:
        result = step.run(stage.image, choice.params, state)
    except Cancelled:
        raise
    except SightlineError as error:
        return None, Verdict("fail", f"{error} The image stays as it was.")
    except (RuntimeError, ValueError, MemoryError) as error:  # of a library: one step must not end the others
        return None, Verdict(
            "fail", f"{step.spec.title} failed unexpectedly ({type(error).__name__}). The image stays as it was."
        )
    return result, result.verdict


def _advanced(stage: Stage, result: StepResult) -> Stage:
    matrix = np.eye(4) if result.to_before is None else result.to_before
    mask = result.mask
    if mask is None and stage.mask is not None:
        mask = stage.mask if result.to_before is None else carried(stage.mask, matrix, shape_of(result.image))
    left = {name: (values, result.image.geometry) for name, values in result.extras.items()}
    return Stage(result.image, mask, stage.to_native @ matrix, {**stage.extras, **left})


def _extra(result: StepResult | None) -> tuple[str, Image | None]:
    """The first further array as an image to look at, masks left out: they show in what is removed."""
    for name, values in ({} if result is None else result.extras).items():
        if result is not None and not np.isin(values, (0.0, 1.0)).all():
            shaped = values[None] if result.image.is_volume else values
            return name, replace(
                result.image,
                values=shaped,
                unit="stored value",
                windows=(Window.from_range(name, float(values.min()), float(values.max())),),
                within=None,
            )
    return "", None


def _pictured(stage: Stage, native: Image, window: Window) -> Picture:
    """Planes through the place that is the middle of the native image."""
    depth, height, width = shape_of(native)
    middle = at(inverse(stage.to_native), ((width - 1) / 2, (height - 1) / 2, (depth - 1) / 2))
    return picture(stage.image, window, (float(middle[0]), float(middle[1]), float(middle[2])))
