"""Which step flipped the call: the model's answer with all steps, without each of them, and with none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dashboard.preparation.trace import Stage, Trace, prepared_slice, rerun_without
from models.context import RunContext
from models.types import FloatArray, Image, Prediction

Predict = Callable[[Image], Prediction]
ALL, NONE = "With all steps", "With none"


@dataclass(frozen=True, eq=False)
class Effect:
    """The model's answer for the same anatomical slice, with some of the steps.

    Attributes:
        name: "With all steps", "Without noise filter", "With none".
        step_id: of the step left out; "" for all and none.
        slice: index shown to the model, on the grid that the steps left.
        probabilities: (K,) in the order of the model's classes.
        decision: names of the classes decided for or flagged; empty where none is.
        flips: the decision differs from that with all steps.
    """

    name: str
    step_id: str
    slice: int
    probabilities: FloatArray
    decision: tuple[str, ...]
    flips: bool

    @property
    def call(self) -> str:
        """The decision in words."""
        return ", ".join(name.replace("_", " ") for name in self.decision) or "nothing flagged"


@dataclass(frozen=True, eq=False)
class Effects:
    """Answers for one slice: with all steps first, then without each, then with none.

    Attributes:
        native_slice: index of the slice on the native grid.
    """

    classes: tuple[str, ...]
    native_slice: int
    rows: tuple[Effect, ...]

    @property
    def flipping(self) -> tuple[Effect, ...]:
        """The steps whose absence alone changes the decision."""
        return tuple(row for row in self.rows if row.step_id and row.flips)

    @property
    def leading(self) -> int:
        """The class that the answers are compared by: that with all steps decided for, else the most probable there."""
        first = self.rows[0]
        if first.decision:
            return max(
                (self.classes.index(name) for name in first.decision), key=lambda k: float(first.probabilities[k])
            )
        return int(np.argmax(first.probabilities))

    def sentence(self) -> str:
        """What the steps did to the call, for people."""
        first, last = self.rows[0], self.rows[-1]
        name = self.classes[self.leading].replace("_", " ")

        def answer(row: Effect) -> str:
            probability = f"{row.probabilities[self.leading]:.2f}"
            return f"{row.call} {probability}" if row.call == name else f"{row.call} ({name} {probability})"

        said = f"With all steps: {answer(first)}."
        for row in self.flipping:
            said += f" {row.name}: {answer(row)}, the call changes."
        if not self.flipping:
            said += (
                " No single step changes the call, but all of them together do."
                if last.flips
                else " Leaving out any one of them, or all, does not change the call."
            )
        return said


def what_changed(trace: Trace, native_slice: int, predict: Predict, ctx: RunContext | None = None) -> Effects:
    """Ask the model again for each step left out; ticks once for each answer.

    Steps that failed had no effect: they are neither left out nor tried again. Where a later step needs the one left out, the
    row names both. Every answer is for the slice that shows the middle of
    ``native_slice``, wherever the steps put it.

    Args:
        predict: the model's answer for a plane image.

    Raises:
        Cancelled: the work was stopped.
    """
    ctx = ctx or RunContext()
    answers: list[Effect] = []
    classes: tuple[str, ...] = ()

    def answer(name: str, step_id: str, stage: Stage) -> None:
        nonlocal classes
        ctx.check()
        index = prepared_slice(stage, trace.native, native_slice)
        prediction = predict(stage.image.slice(index))
        classes = prediction.classes
        decision = tuple(sorted(classes[k] for k in prediction.flagged))
        flips = bool(answers) and decision != answers[0].decision
        answers.append(Effect(name, step_id, index, prediction.probabilities, decision, flips))
        ctx.tick()

    answer(ALL, "", trace.stages[-1])
    for number, record in enumerate(trace.records):
        if record.verdict.level != "fail":
            stage, failed = rerun_without(trace, number, ctx)
            also = "".join(f", so without {_within(title)} too" for title in failed)
            answer(f"Without {_within(record.title)}{also}", record.step_id, stage)
    answer(NONE, "", trace.stages[0])
    return Effects(classes, native_slice, tuple(answers))


def _within(title: str) -> str:
    """A title as it stands within a sentence: "skull stripping", but "CT window"."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]
