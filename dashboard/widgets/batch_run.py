"""How far a batch run is, and what came of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.folder_runs.desk import SCORES, BatchDesk, Choice, Run
from dashboard.folder_runs.told import Told
from models.card import ModelCard
from models.errors import SightlineError


def title(choice: Choice, cards: dict[str, ModelCard]) -> str:
    """What a run does, in a line."""
    model = cards[choice.model].title if choice.model in cards else choice.model
    return f"{'Scores' if choice.doing == 'scores' else 'Explanations'} by {model} of {choice.source}"


def run_panel(desk: BatchDesk, run: Run, cards: dict[str, ModelCard]) -> None:
    """The run, watched as long as it goes on."""
    with st.container(border=True, key="batch-run"):
        st.markdown(f"**{title(run.choice, cards)}**")
        st.caption(f"Results in {run.choice.out}")
        if run.state == "running":
            st.fragment(_watch, run_every=1.0)(desk, run)
            return
        if run.state == "done":
            _done(run)
        elif run.state == "stopped":
            st.info(f"Stopped after {_of(run)}; what is done is kept.", icon=":material/pause_circle:")
        else:
            st.error(run.message, icon=":material/error:")
        if run.state != "done" and st.button("Go on", icon=":material/play_arrow:", type="primary", key="batch-again"):
            begin(desk, run.choice)
        _told(run.failures, "Images without a result", "batch-failures")
        if run.result is not None:
            _told(run.result.warnings, "What to know of the results", "batch-warnings")


def left_panel(desk: BatchDesk, choice: Choice, cards: dict[str, ModelCard]) -> None:
    """A run that the server did not bring to its end before it was started again."""
    with st.container(border=True, key="batch-left"):
        st.info(f"A run was interrupted: {title(choice, cards)}. What it had done is kept.", icon=":material/history:")
        again, drop, _ = st.columns([1, 1, 4])
        if again.button("Go on", icon=":material/play_arrow:", type="primary", key="batch-again", width="stretch"):
            begin(desk, choice)
        if drop.button("Forget it", icon=":material/close:", key="batch-forget", width="stretch"):
            desk.forget()
            st.rerun()


def begin(desk: BatchDesk, choice: Choice) -> None:
    """Start, or say why not."""
    try:
        desk.start(choice)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    st.rerun()


def _watch(desk: BatchDesk, run: Run) -> None:
    if run.state != "running":
        st.rerun()
    bar, stop = st.columns([6, 1], vertical_alignment="center")
    share = min(1.0, run.done / run.total) if run.total else 0.0
    bar.progress(share, f"{_of(run)} · {run.words}" if run.total else "Looking through the files ...")
    stop.button("Stop", icon=":material/stop:", on_click=desk.stop, key="batch-stop", width="stretch")
    _told(run.failures, "Images without a result so far", "batch-failures")


def _of(run: Run) -> str:
    return f"{run.done:,} of {run.total or 0:,} files"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _done(run: Run) -> None:
    found = run.result
    if found is None or not found.written:
        st.warning("None of the images could be read or worked on; the reasons are below.", icon=":material/warning:")
        return
    if run.choice.doing == "maps":
        st.success(
            f"Done: {_counted(found.written, 'explanation')} of {_counted(found.read, 'image')}.",
            icon=":material/check_circle:",
        )
        return
    st.success(f"Done: {_counted(found.written, 'image')} scored.", icon=":material/check_circle:")
    table = Path(run.choice.out, SCORES)
    st.caption(f"The table is {table}. To audit it, add labels to it and open it on the Audit page.")


def _told(told: Told, heading: str, key: str) -> None:
    """Reasons, each with how many images it is true of."""
    rows = [(count, sentence, ", ".join(names)) for sentence, (count, names) in told.sentences.items()]
    if not rows:
        return
    st.markdown(f"{heading}: {told.images:,}")
    frame = pd.DataFrame(rows, columns=["Images", "Reason", "For example"])
    st.dataframe(frame, hide_index=True, width="stretch", key=key)
    if told.unsaid:
        st.caption(f"And {told.unsaid:,} more; all are in the manifest beside the results.")
