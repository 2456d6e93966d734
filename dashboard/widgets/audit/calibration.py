"""Do the scores mean what they say? The reliability diagram, its figures, and what the parts below it do."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.audit.calibration import BINS, Scheme, bins, class_wise, outcomes
from dashboard.audit.intervals import NO_ECE_INTERVAL, Estimate
from dashboard.audit.recalibrate import caution
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.state import services
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.recalibration import recalibration
from dashboard.widgets.audit.reliability import AS_GIVEN, DECIDED, decimals, diagram, figures, frame_of

_SCHEMES: dict[Scheme, str] = {"width": "equal width", "mass": "equally many cases"}


def calibration_tab(audit: Audit) -> None:
    """Everything of the tab, top to bottom."""
    _warn(audit.table)
    index, scheme, count, log = _controls(audit)
    found = outcomes(audit.table, index)
    subject = DECIDED if index is None else readable(audit.table.classes[index])
    unknown = len(audit.table) - len(found)
    if not len(found):
        st.info(f"No label of {subject} is known in this table, so nothing can be compared.", icon=":material/info:")
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(f"**What the score said against what came true**: {subject}")
        diagram(audit, {AS_GIVEN: bins(found, scheme, count)}, subject, log, f"reliability-{subject}-{scheme}-{count}")
        st.caption("Bars: 95 % Wilson intervals. Crosses: bins without a case. Click a mark to see its cases.")
    with right:
        st.markdown(
            f"**Figures** with 95 % intervals, n = {len(found):,}" + (f", {unknown:,} unknown" if unknown else "")
        )
        estimates = figures(audit.table.digest, index, count, audit.table)
        st.table(frame_of({"Value": estimates}), border="horizontal", hide_index=True)
        st.caption(
            f"{count} bins. Brier score = reliability - resolution + uncertainty + spread inside the bins. Intervals "
            f"rest on resampled {audit.table.unit}. {NO_ECE_INTERVAL} The same holds for reliability and resolution."
        )
    with st.expander("All classes"):
        _all_classes(audit, count)
    st.divider()
    recalibration(audit, index, scheme, count, log)


@st.cache_data(max_entries=8, show_spinner=False)
def _by_class(digest: str, count: int, _table: AuditTable) -> tuple[Estimate, tuple[Estimate, ...]]:
    return class_wise(_table, count)


def _warn(table: AuditTable) -> None:
    card = services().desk.engine.cards().get(table.model_id)
    if card is not None and (why := caution(card)):
        st.warning(why, icon=":material/warning:")


def _controls(audit: Audit) -> tuple[int | None, Scheme, int, bool]:
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        index: int | None = audit.focus
        if audit.table.exclusive:
            top = st.segmented_control(
                "Probability of",
                (False, True),
                default=False,
                required=True,
                format_func=lambda chosen: DECIDED if chosen else readable(audit.finding),
                key="calibration-top",
                persist_state="session",
            )
            index = None if top else index
        scheme = st.segmented_control(
            "Bins of",
            list(_SCHEMES),
            default="width",
            required=True,
            format_func=_SCHEMES.__getitem__,
            key="bin-scheme",
            persist_state="session",
        )
        count = st.segmented_control(
            "How many bins",
            (5, 10, BINS, 20, 30),
            default=BINS,
            required=True,
            key="bin-count",
            persist_state="session",
        )
        log = st.toggle("Logarithmic axes", key="calibration-log", persist_state="session")
    return index, scheme or "width", count or BINS, log


def _all_classes(audit: Audit, count: int) -> None:
    table = audit.table
    mean, each = _by_class(table.digest, count, table)
    rows = [
        {"Class": readable(name), "Calibration error (ECE)": decimals(estimate), "n": estimate.n}
        for name, estimate in zip(table.classes, each, strict=True)
    ]
    rows.append({"Class": "Mean of classes (class-wise ECE)", "Calibration error (ECE)": decimals(mean), "n": mean.n})
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    if mean.note:
        st.caption(f"The mean is {mean.note}.")
