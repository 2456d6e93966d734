"""What the hunts of the Failures tab share: the network, stored or own results, and work in the background of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from dashboard.hunting.cohort import Cohort, cohort
from dashboard.hunting.turns import Turn, behind_readers
from dashboard.images import ImageFolder
from dashboard.state import hunt_jobs, owner, services
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.images import images_of
from models.card import ModelCard
from models.context import RunContext

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Work:
    """What a hunt of this page is given."""

    cases: Cohort
    ctx: RunContext
    turn: Turn


def network_of(audit: Audit, without: str) -> ModelCard | None:
    """The model of the table; where it is not installed, that is said and ``without``, what cannot be done then."""
    card = services().desk.engine.cards().get(audit.table.model_id)
    if card is None:
        st.info(f"These scores belong to no model of this installation, so {without}.", icon=":material/info:")
    return card


def stored_or_measured(
    audit: Audit, name: str, label: str, kept: R | None, purpose: str, measured: Callable[[ImageFolder], R | None]
) -> R | None:
    """What is stored with the model or is measured on the images at hand, as the reader chooses.

    Args:
        name: of the section, in keys.
        label: of the choice.
        kept: the result stored with the model, None where there is none.
        purpose: what the images are asked for, after "to".
        measured: draws what starts the work, and gives its result so far.
    """
    ways = {"stored": "Stored with the model"} if kept is not None else {}
    if choice(label, ways | {"here": "On the images at hand"}, f"{name}-way") == "stored":
        return kept
    folder = images_of(audit.table, name)
    if folder is None:
        st.info(f"Give the folder of the images to {purpose}.", icon=":material/folder_open:")
        return None
    return measured(folder)


def hunted(
    audit: Audit,
    card: ModelCard,
    folder: ImageFolder,
    name: str,
    variant: str,
    label: str,
    work: Callable[[Work], R],
) -> R | None:
    """A button that starts the work, how far it is, a button to stop it, and what it has come to (so far).

    Args:
        name: of the hunt, in keys.
        variant: all choices that the result depends on besides the table.
        label: of the button.
    """
    kept = f"hunt-{name}"
    key = f"{name}-{audit.table.digest}-{card.weights.sha256}-{folder.folder}-{variant}"
    if st.button(label, icon=":material/search:", key=f"{kept}-start"):
        asked = st.session_state.get(kept, "")
        if asked and asked != key:
            hunt_jobs().stop(asked, owner())
        st.session_state[kept] = key
        _start(key, audit, card, folder, work)
    asked = st.session_state.get(kept, "")
    job = hunt_jobs().look(asked) if asked == key else None
    if job is None:
        return None
    if job.active:
        st.fragment(_watch, run_every=1.0)(key, kept)
        so_far: R | None = job.partial
        return so_far
    if job.state == "failed":
        st.error(job.message, icon=":material/error:")
    elif job.state == "cancelled":
        st.info("Stopped.", icon=":material/stop_circle:")
    found: R | None = job.result
    return found


def _start(key: str, audit: Audit, card: ModelCard, folder: ImageFolder, work: Callable[[Work], Any]) -> None:
    desk, who, table = services().desk, owner(), audit.table

    def run(ctx: RunContext) -> Any:
        return work(Work(cohort(table, folder, card), ctx, behind_readers(desk, f"{key}-{who}", who, ctx)))

    hunt_jobs().start(key, run, who)


def _watch(key: str, kept: str) -> None:
    """A fragment: how far the work is; a new partial result redraws the page."""
    job = hunt_jobs().look(key)
    if job is None or not job.active:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="center")
    bar.progress(
        job.progress, "Going through the cases ..." if job.state == "running" else "Waiting for other work ..."
    )
    if stop.button("Stop", icon=":material/stop:", key=f"{kept}-stop", width="stretch"):
        hunt_jobs().stop(key, owner())
        st.session_state.pop(kept, None)
        st.toast("Stopped.", icon=":material/stop_circle:")
        st.rerun()
    shown = f"{kept}-shown"
    if job.partial is not None and id(job.partial) != st.session_state.get(shown):
        st.session_state[shown] = id(job.partial)
        st.rerun()
