"""Another calibration tried: fitted on one part of the table, shown on another, taken along in a model card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from dashboard.audit.calibration import Scheme, bins, outcomes
from dashboard.audit.card_copy import recalibrated_card
from dashboard.audit.recalibrate import (
    Fitting,
    Line,
    Recalibration,
    base_rates,
    estimated_prevalence,
    fit,
    halves,
    shift,
)
from dashboard.audit.table import AuditTable, Rows
from dashboard.cases import readable
from dashboard.state import services
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.reliability import AS_GIVEN, DECIDED, diagram, figures, frame_of
from models.card import CARD_FILE
from models.errors import DataError

_NONE, _PRIOR, _HALF = "none", "prior", "a random half of the patients"
_METHODS = {
    _NONE: "None",
    "temperature": "Temperature (one factor)",
    "platt": "Platt (a line on the log odds)",
    "beta": "Beta curve",
    "isotonic": "Isotonic (rising steps)",
    _PRIOR: "Shift to another prevalence",
}


@dataclass(frozen=True, eq=False)
class _Trial:
    """A calibration and the part it is shown on, before and after; ``rows`` are those of the table under audit."""

    found: Recalibration
    before: AuditTable
    after: AuditTable
    rows: Rows


def recalibration(audit: Audit, index: int | None, scheme: Scheme, count: int, log: bool) -> None:
    """Choose a method, see what it does to cases that it was not fitted on, take it along."""
    st.markdown("**Recalibrate**: fitted on one part of the cases, shown on another")
    shown = set(audit.table.splits)
    parts = [*(name for name in audit.whole.splits if name not in shown), _HALF]
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        method = st.selectbox(
            "Method",
            list(_METHODS),
            format_func=_METHODS.__getitem__,
            key="recalibrate",
            persist_state="session",
            width=280,
        )
        if method == _NONE:
            return
        first = next((name for name in parts if name.startswith("val")), _HALF)
        part = st.selectbox("Fit on", parts, index=parts.index(first), key=f"fit-on-{audit.whole.title}", width=280)
        prevalence, estimated = _prevalence(audit, part) if method == _PRIOR else (None, False)
    try:
        trial = _trial(
            (audit.table.digest, audit.whole.digest), method, part, audit.focus, prevalence, estimated, audit
        )
    except DataError as error:
        st.info(str(error), icon=":material/info:")
        return
    _compare(audit, trial, index, (scheme, count, log))
    _take_along(audit.table, trial.found)


def _compare(audit: Audit, trial: _Trial, index: int | None, drawing: tuple[Scheme, int, bool]) -> None:
    scheme, count, log = drawing
    before, after = outcomes(trial.before, index), outcomes(trial.after, index)
    subject = DECIDED if index is None else readable(audit.finding)
    if not len(before):
        st.info(f"No label of {subject} is known in the part it would be shown on.", icon=":material/info:")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        series = {AS_GIVEN: bins(before, scheme, count), "recalibrated": bins(after, scheme, count)}
        diagram(audit, series, subject, log, f"recalibrated-{subject}-{scheme}-{count}", trial.rows)
    with right:
        columns = {
            "As given": figures(trial.before.digest, index, count, trial.before),
            "Recalibrated": figures(trial.after.digest, index, count, trial.after),
        }
        st.table(frame_of(columns), border="horizontal", hide_index=True)
        st.caption(f"Fitted on {trial.found.part}; shown on {len(before):,} other cases.")
        if shared := trial.found.shared_patients(trial.before):
            st.warning(
                f"{shared:,} patients are in both parts; the recalibrated figures are too good.",
                icon=":material/warning:",
            )
        if trial.found.kept:
            st.caption(f"Left as they are, for want of cases: {', '.join(map(readable, trial.found.kept))}.")


def _prevalence(audit: Audit, part: str) -> tuple[float | None, bool]:
    """What the reader says, or that it is to be estimated."""
    estimated = st.toggle(
        "Estimate it from the scores",
        key="estimate-prevalence",
        persist_state="session",
        help="Expectation maximisation (Saerens 2002) on the scores of the part shown, without its labels. It is right "
        "where the scores were calibrated on the part fitted on.",
    )
    if estimated:
        return None, True
    # Not that of the part shown: its labels would make the shift look better than it is.
    own = float(np.nan_to_num(base_rates(_parts(audit, part)[0])[audit.focus], nan=0.1))
    percent = st.number_input(
        f"Prevalence of {readable(audit.finding)}, %",
        min_value=0.01,
        max_value=99.99,
        value=min(99.99, max(0.01, round(100 * own, 2))),
        key=f"prior-{audit.table.title}-{audit.finding}-{part}",
        width=220,
        help="Starts at that of the part it is fitted on, which shifts nothing.",
    )
    return percent / 100, False


def _parts(audit: Audit, part: str) -> tuple[AuditTable, AuditTable, Rows]:
    """What to fit on, what to show it on, and the rows of the latter in the table under audit."""
    if part == _HALF:
        first, second = halves(audit.table)
        return audit.table.part(first), audit.table.part(second), np.flatnonzero(second)
    return audit.whole.in_split(part), audit.table, np.arange(len(audit.table))


@st.cache_resource(max_entries=16, show_spinner="Fitting ...")
def _trial(
    digests: tuple[str, str],
    method: str,
    part: str,
    focus: int,
    prevalence: float | None,
    estimated: bool,
    _audit: Audit,
) -> _Trial:
    """Kept by the digests of the table under audit and of the whole; raises DataError."""
    table = _audit.table
    ground, shown, rows = _parts(_audit, part)
    words = f"half of the {table.unit}" if part == _HALF else f"part {part}"
    words += f", n = {len(ground):,}"
    if method == _PRIOR:
        wanted = np.full(len(table.classes), np.nan)
        if estimated:
            wanted = estimated_prevalence(shown.scores, base_rates(ground), table.exclusive)
        elif prevalence is not None:
            wanted[focus] = prevalence
        found = shift(ground, wanted, words)
    else:
        chosen: dict[str, Fitting] = {
            "temperature": "temperature", "platt": "platt", "beta": "beta", "isotonic": "isotonic"
        }  # fmt: skip
        found = fit(ground, chosen[method], words)
    return _Trial(found, shown, found.show(shown), rows)


def _take_along(table: AuditTable, found: Recalibration) -> None:
    card = services().desk.engine.cards().get(table.model_id)
    if card is None:
        st.caption(
            "These scores come from no installed model, so there is no model card to write the calibration into."
        )
    elif not isinstance(found.curve, Line):
        st.caption("A model card holds a line on the log odds; isotonic and beta curves cannot be written into it.")
    else:
        try:
            text = recalibrated_card(card, found, table.classes)
        except DataError as error:
            st.caption(str(error))
            return
        st.download_button(
            "Model card with this calibration",
            text,
            CARD_FILE,
            "application/toml",
            icon=":material/download:",
            on_click="ignore",
            key="card-copy",
            help="A copy of card.toml. Operating points move along, so the same cases are called as before.",
        )
