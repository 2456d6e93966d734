"""An image prepared and, where a model is named, what the steps changed in its answer: one piece of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dashboard.preparation.effects import Effects, Predict, what_changed
from dashboard.preparation.model_steps import model_records
from dashboard.preparation.trace import Record, StepChoice, Trace, run_steps
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.types import Image


@dataclass(frozen=True, eq=False)
class Outcome:
    """What there is so far.

    Attributes:
        native_slice: index of the slice of the image that the model is asked about.
        model_records: the model's own input steps on the prepared slice.
        missing: why there are none, in one sentence.
        doing: what is under way, in words; "" when all is done.
    """

    trace: Trace
    native_slice: int
    model_records: tuple[Record, ...] = ()
    missing: str = ""
    effects: Effects | None = None
    doing: str = ""

    @property
    def records(self) -> tuple[Record, ...]:
        return (*self.trace.records, *self.model_records)


@dataclass(frozen=True, eq=False)
class Question:
    """The model whose answer is wanted.

    Attributes:
        predict: its answer for a plane image.
    """

    card: ModelCard
    predict: Predict


def prepare_image(
    image: Image,
    choices: Sequence[StepChoice],
    native_slice: int,
    question: Question | None = None,
    reference: Image | None = None,
    seed: int = 0,
    ctx: RunContext | None = None,
    show: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Run the steps, then ask the model with and without each; progress counts both.

    Args:
        show: called with what there is so far.

    Raises:
        DataError: a step, a setting or the slice is unknown.
        ModelError: the model cannot answer.
        Cancelled: the work was stopped.
    """
    ctx = ctx or RunContext()
    image.slice(native_slice)  # which says that it does not exist
    wanted = [choice for choice in choices if choice.on]
    ctx.total = len(wanted) + (len(wanted) + 2 if question else 0)
    titles = [choice.step.spec.title for choice in wanted]

    def so_far(trace: Trace) -> None:
        done = len(trace.records)
        doing = titles[done] if done < len(titles) else "Asking the model" if question else ""
        show(Outcome(trace, native_slice, doing=doing))

    trace = run_steps(image, wanted, ctx, reference, seed, so_far)
    outcome = Outcome(trace, native_slice)
    if question is None:
        return outcome
    try:
        given = model_records(trace.image.slice(trace.slice_for(native_slice)), question.card)
        outcome = replace(outcome, model_records=given)
    except DataError as error:
        return replace(outcome, missing=str(error))
    show(replace(outcome, doing="Asking the model with and without each step"))
    return replace(outcome, effects=what_changed(trace, native_slice, question.predict, ctx))
