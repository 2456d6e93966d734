"""Scoring a folder of images for an audit: what is asked for, how far it is, what could not be read."""

from __future__ import annotations

import atexit
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.audit.reading import read_frame
from dashboard.audit_scoring import Scored, ScoringRun, ScoringRuns, Show, score_folder
from dashboard.jobs.desk import Desk
from dashboard.settings import settings
from dashboard.widgets.audit.mapping import OwnTable
from models.card import ModelCard
from models.errors import DataError

_RUN = "audit-run"
Take = Callable[[OwnTable], None]


@dataclass
class _Watched:
    """The run that this session started last; ``taken`` once its table is among the others."""

    key: str
    title: str
    run: ScoringRun
    taken: bool = False


@st.cache_resource(show_spinner=False)
def _runs() -> ScoringRuns:
    runs = ScoringRuns()
    atexit.register(runs.close)
    return runs


def folder_form(desk: Desk, wanted: bool, take: Take) -> None:
    """What a run needs, where wanted, and how far the last one is; a finished table is given to ``take``, once."""
    watched: _Watched | None = st.session_state.get(_RUN)
    if watched is not None and watched.run.result is not None and not watched.taken:
        watched.taken = True
        table = watched.run.result.table
        take(OwnTable(watched.title, watched.key, model_id=table.model_id, table=table))
    if not wanted and (watched is None or watched.run.state != "running"):
        return
    with st.container(border=True, key="audit-folder"):
        if wanted:
            _form(desk, watched)
        if watched is not None:
            running = watched.run.state == "running"
            st.fragment(_progress, run_every=1.0 if running else None)(watched.run, running)


def _form(desk: Desk, watched: _Watched | None) -> None:
    cards = desk.engine.cards()
    where, labels, which = st.columns([2, 2, 1.5])
    folder = where.text_input(
        "Folder of images on this machine", key="audit-folder-path", placeholder="/path/to/images"
    ).strip()
    where.caption("DICOM, NIfTI, PNG, JPEG or TIFF; of a volume the middle slice is scored.")
    file = labels.file_uploader("Labels (CSV, TSV or parquet)", type=["csv", "tsv", "parquet"], key="audit-labels")
    labels.caption(
        "First column: the file. Then a column of 0 and 1 for each class, named like it, or one column that names "
        "the class; `patient_id`, `split`, age, sex where known."
    )
    model_id = which.selectbox(
        "Model", list(cards), format_func=lambda name: cards[name].title if name in cards else "", key="audit-model"
    )
    running = watched is not None and watched.run.state == "running"
    ready = bool(folder and file and model_id) and not running
    if which.button("Start", type="primary", disabled=not ready, key="audit-start", width="stretch") and file:
        try:
            _start(desk, cards[model_id], Path(folder).expanduser(), file.name, file.getvalue())
        except DataError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.rerun()


def _start(desk: Desk, card: ModelCard, folder: Path, name: str, data: bytes) -> None:
    """Start the run, or find it under way. Raises DataError for a label table that cannot be read."""
    labels, title, cache = read_frame(data, name), f"{card.title}: {folder.name}", settings().cache / "scores"
    key = hashlib.sha256(f"{card.id} {card.weights.sha256} {folder} ".encode() + data).hexdigest()

    def work(show: Show, cancelled: threading.Event) -> Scored:
        return score_folder(desk.engine, card, folder, labels, title, cache, show, cancelled)

    st.session_state[_RUN] = _Watched(key, title, _runs().start(key, work))


def _progress(run: ScoringRun, running: bool) -> None:
    if running and run.state != "running":
        st.rerun()
    _told(run)


def _told(run: ScoringRun) -> None:
    if run.state == "running":
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        share = run.done / run.total if run.total else 0.0
        bar.progress(share, f"{run.done:,} of {run.total:,} images" if run.total else "Looking through the folder ...")
        stop.button("Stop", icon=":material/stop:", on_click=run.stop, key="audit-stop", width="stretch")
    elif run.state == "stopped":
        st.info(
            f"Stopped after {run.done:,} of {run.total:,} images; Start goes on from there.", icon=":material/pause:"
        )
    elif run.state == "failed":
        st.error(run.message, icon=":material/error:")
    elif run.result is not None:
        failures = run.result.failures
        st.success(
            f"{_images(len(run.result.table))} scored; their table is in the list above.",
            icon=":material/check_circle:",
        )
        if failures:
            with st.expander(f"{_images(len(failures))} without a score"):
                st.dataframe(pd.DataFrame({"Image": list(failures), "Why": list(failures.values())}), hide_index=True)


def _images(count: int) -> str:
    return f"{count:,} image" + ("" if count == 1 else "s")
