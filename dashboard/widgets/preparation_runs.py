"""Starting, watching and stopping a preparation."""

from __future__ import annotations

import atexit
from collections.abc import Callable

import streamlit as st

from dashboard.jobs.desk import Desk
from dashboard.jobs.kept import KeptJobs
from dashboard.jobs.runner import Job
from dashboard.preparation.outcome import Outcome, Question, prepare_image
from dashboard.preparation.trace import StepChoice
from dashboard.state import owner
from models.card import ModelCard
from models.context import RunContext
from models.types import Image


@st.cache_resource(show_spinner=False)
def preparations() -> KeptJobs[Outcome]:
    """One worker for the process."""
    made: KeptJobs[Outcome] = KeptJobs()
    atexit.register(made.close)
    return made


def work_of(
    image: Image,
    choices: tuple[StepChoice, ...],
    native_slice: int,
    card: ModelCard | None,
    desk: Desk,
    reference: Image | None,
) -> Callable[[RunContext], Outcome]:
    """The work itself, for another thread: it asks the desk, which finds known answers again."""
    question = None if card is None else Question(card, lambda plane: desk.predict(card.id, plane))

    def work(ctx: RunContext) -> Outcome:
        return prepare_image(image, choices, native_slice, question, reference, ctx=ctx, show=ctx.show)

    return work


def watch(key: str, show: Callable[[Outcome], None], stopped: Callable[[], object]) -> None:
    """A fragment's content: how far the work is, a button to stop it, and what there is so far.

    When it has ended the whole page runs again. ``stopped`` is called once the reader no longer waits for it: it goes on
    where another session does.
    """
    job = preparations().look(key)
    if job is None or not job.active:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="center")
    bar.progress(job.progress, _doing(job))
    if stop.button("Stop", icon=":material/stop:", key="preparation-stop", width="stretch"):
        preparations().stop(key, owner())
        stopped()
        st.toast("Stopped; Run starts again.", icon=":material/stop_circle:")
        st.rerun()
    if job.partial is not None:
        show(job.partial)


def _doing(job: Job[Outcome]) -> str:
    if job.state == "queued":
        return "Waiting for the preparation before this one ..."
    return f"{job.partial.doing} ..." if job.partial is not None and job.partial.doing else "First step ..."
