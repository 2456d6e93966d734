"""Labels that come together more or less often than chance would have it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard.audit import imbalance
from dashboard.audit.imbalance import LabelPairs
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.confusion import Cells, grid
from dashboard.widgets.audit.cells import HUNDREDS, choice, counted, each, ends_text, long_frame, pair_columns
from dashboard.widgets.audit.chart import Audit, chart, open_cases


@st.cache_data(max_entries=8, show_spinner=False)
def _label_pairs(digest: str, _table: AuditTable) -> LabelPairs:
    return imbalance.label_pairs(_table)


def labels_together(audit: Audit) -> None:
    """Lift and counts of every pair of findings."""
    table = audit.table
    st.markdown("**Labels that come together**")
    way = choice("Cells show", {"lift": "Against independence", "counts": "Counts"}, "imbalance-pairs-way")
    found = _label_pairs(table.digest, table)
    names, lift = [readable(name) for name in table.classes], found.lift
    count = len(names)
    own = np.eye(count, dtype=bool)
    with np.errstate(divide="ignore"):
        strength = np.clip(np.log2(lift.value) / 3, -1, 1)
    clear = (lift.low > 1) | (lift.high < 1)
    share = found.counts / np.maximum(np.diag(found.counts)[:, None], 1)

    def hover(row: int, column: int) -> str:
        if row == column:
            return f"<b>{names[row]}</b><br>{found.counts[row, row]:,} positive of {found.known[row, row]:,} cases"
        value = lift.value[row, column]
        said = "no lift"
        if not np.isnan(value):
            said = f"{value:.2f} times as often as if independent{ends_text(lift, row, column)}"
        both = f"{found.counts[row, column]:,} of {found.known[row, column]:,} cases"
        return f"<b>{names[row]} with {names[column]}</b><br>{both}<br>{said}"

    def text(row: int, column: int) -> str:
        if way == "counts":
            return f"{found.counts[row, column]:,}"
        value = lift.value[row, column]
        return "" if row == column else "–" if np.isnan(value) else f"{value:.1f}"

    cells = Cells(
        counted(names, np.diag(found.counts)),
        names,
        np.where(own | np.isnan(strength), np.nan, np.where(clear, strength, 0.0)) if way == "lift" else share,
        each(own.shape, text),
        each(own.shape, hover),
        "Present",
        "Together with",
        "times as often" if way == "lift" else "share of the row",
        {-1: "1/8", 0: "1", 1: "8"} if way == "lift" else HUNDREDS,
        middle=way == "lift",
    )
    parts = {"cases": found.counts, "known": found.known, **pair_columns("lift", lift)}
    data = long_frame(names, parts, "finding", "with")
    clicked = chart(lambda dark: grid(cells, dark), f"imbalance-pairs-{way}", "Labels that come together", data)
    st.caption(
        "Lift: cases with both labels against those expected if they came independently; in colour where its 95 % "
        f"interval over {table.unit} leaves out 1. Click a cell for its cases."
    )
    if clicked is not None:
        one, other = divmod(int(str(clicked)), count)
        title = f"True {names[one]}" if one == other else f"True {names[one]} and {names[other]}"
        open_cases(audit, imbalance.label_pair_rows(table, one, other), title, one)
