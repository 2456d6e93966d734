"""Findings called in place of missed ones, and findings that come together in truth and as called."""

from __future__ import annotations

import numpy as np
import streamlit as st

from dashboard.audit import confusion
from dashboard.audit.confusion import ConfusedWith, Cooccurrence
from dashboard.audit.intervals import FEW
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.confusion import Cells, grid
from dashboard.widgets.audit.cells import (
    HUNDREDS,
    choice,
    counted,
    each,
    ends_text,
    long_frame,
    pair_columns,
    percent,
    share_columns,
    share_text,
)
from dashboard.widgets.audit.chart import Audit, chart, open_cases

_INSTEAD = {"ratio": "Against chance", "rate": "Rate", "counts": "Counts"}
_TOGETHER = {"true": "Present", "called": "Called", "excess": "Called less present"}


@st.cache_data(max_entries=8, show_spinner=False)
def _instead(digest: str, _table: AuditTable) -> ConfusedWith:
    return confusion.confused_with(_table)


@st.cache_data(max_entries=8, show_spinner=False)
def _together(digest: str, _table: AuditTable) -> Cooccurrence:
    return confusion.cooccurrence(_table)


def called_instead(audit: Audit) -> None:
    """Of each missed finding, what was called though absent, against chance."""
    table = audit.table
    st.markdown("**When a finding is missed, which others are called in its place?**")
    way = choice("Cells show", _INSTEAD, "confusion-instead-way")
    found = _instead(table.digest, table)
    names = [readable(name) for name in table.classes]
    ratio, rate = found.ratio, found.rate
    # Shaded only where the interval leaves out 1: the eye should not chase noise.
    clear = (ratio.low > 1) | (ratio.high < 1)
    with np.errstate(divide="ignore"):
        strength = np.clip(np.log2(ratio.value) / 2, -1, 1)

    def hover(row: int, column: int) -> str:
        if row == column:
            return ""
        ends = ends_text(ratio, row, column)
        against = f"{ratio.value[row, column]:.2f} times chance{ends}" if ratio.value[row, column] >= 0 else "no ratio"
        return (
            f"<b>{names[row]} missed, {names[column]} called though absent</b><br>{rate.hits[row, column]:,} of "
            f"{rate.total[row, column]:,} cases, {share_text(rate, row, column)}<br>by chance "
            f"{share_text(found.chance, row, column)} of {found.chance.total[row, column]:,}<br>{against}"
        )

    def text(row: int, column: int) -> str:
        if row == column:
            return ""
        if way == "counts":
            return f"{rate.hits[row, column]:,}"
        if rate.total[row, column] < FEW:
            return f"n={rate.total[row, column]}"
        value = rate.value[row, column] if way == "rate" else ratio.value[row, column]
        return ("–" if np.isnan(value) else f"{value:.1f}") if way == "ratio" else percent(value)

    off = np.eye(len(names), dtype=bool)
    shade = np.where(off | (rate.total < FEW), np.nan, rate.value)
    centred = np.where(off | np.isnan(strength), np.nan, np.where(clear, strength, 0.0))
    cells = Cells(
        counted(names, (table.positive & ~table.decided).sum(0), "missed"),
        names,
        centred if way == "ratio" else shade,
        each(shade.shape, text),
        each(shade.shape, hover),
        "Missed",
        "Called though absent",
        "times chance" if way == "ratio" else "rate",
        {-1: "1/4", -0.5: "1/2", 0: "1", 0.5: "2", 1: "4"} if way == "ratio" else HUNDREDS,
        middle=way == "ratio",
    )
    chance = found.chance
    parts = {
        "cases": rate.hits,
        **share_columns("rate", rate),
        "chance": chance.value,
        **pair_columns("times_chance", ratio),
    }
    data = long_frame(names, parts, "missed", "called")
    clicked = chart(
        lambda dark: grid(cells, dark), f"confusion-instead-{way}", "Called in place of a missed finding", data
    )
    pairs = int((~np.isnan(ratio.value)).sum())
    st.caption(
        "Rate: of the cases where the finding of the row is missed and that of the column absent, how many are called "
        "that of the column. Chance: the same among cases without the finding of the row. In colour: 95 % interval "
        f"over {table.unit} leaves out 1; of {pairs:,} pairs, about {round(0.05 * pairs)} do so by luck. "
        "n=: too few missed cases. Click a cell for its cases."
    )
    if clicked is not None:
        missed, called = divmod(int(str(clicked)), len(names))
        rows = confusion.confused_rows(table, missed, called)
        open_cases(audit, rows, f"True {names[missed]}, missed; called {names[called]} though absent", called)


def called_together(audit: Audit) -> None:
    """How often findings come together, present and called."""
    table = audit.table
    st.markdown("**Findings that come together, in truth and as called**")
    way = choice("Cells show", _TOGETHER, "confusion-pairs-way")
    found = _together(table.digest, table)
    names = [readable(name) for name in table.classes]
    excess = found.excess
    clear = (excess.low > 0) | (excess.high < 0)
    shown = found.called if way == "called" else found.true

    def hover(row: int, column: int) -> str:
        if row == column:
            return ""
        more = excess.value[row, column]
        apart = "" if np.isnan(more) else f"<br>called less present {more:+.1%}{ends_text(excess, row, column, '+.1%')}"
        return (
            f"<b>{names[column]} among {names[row]}</b><br>present: {share_text(found.true, row, column)}, "
            f"{found.true.hits[row, column]:,} of {found.true.total[row, column]:,} cases<br>called: "
            f"{share_text(found.called, row, column)}, {found.called.hits[row, column]:,} of "
            f"{found.called.total[row, column]:,} cases{apart}"
        )

    def text(row: int, column: int) -> str:
        if row == column:
            return ""
        value = excess.value[row, column] if way == "excess" else shown.value[row, column]
        return "–" if np.isnan(value) else f"{100 * value:+.0f}" if way == "excess" else percent(value)

    off = np.eye(len(names), dtype=bool)
    level = np.where(off | np.isnan(shown.value), np.nan, shown.value)
    apart = np.where(np.isnan(excess.value), np.nan, np.where(clear, np.clip(2 * excess.value, -1, 1), 0.0))
    cells = Cells(
        counted(names, (table.decided & table.known if way == "called" else table.positive).sum(0)),
        names,
        apart if way == "excess" else level,
        each(off.shape, text),
        each(off.shape, hover),
        "Called" if way == "called" else "Present",
        "Together with",
        "called less present" if way == "excess" else "share of the row",
        {-1: "-50", -0.5: "-25", 0: "0", 0.5: "+25", 1: "+50"} if way == "excess" else HUNDREDS,
        middle=way == "excess",
    )
    data = long_frame(
        names,
        {
            **share_columns("present", found.true),
            **share_columns("called", found.called),
            **pair_columns("excess", excess),
        },
        "finding",
        "with",
    )
    clicked = chart(lambda dark: grid(cells, dark), f"confusion-pairs-{way}", "Findings that come together", data)
    st.caption(
        "Share of the cases with the finding of the row that also have that of the column. Called less present is in "
        f"percentage points, in colour where its 95 % interval over {table.unit} leaves out 0; clicked, it opens the "
        "cases where the pair is called but not present, then present but not called."
    )
    if clicked is not None:
        one, other = divmod(int(str(clicked)), len(names))
        said = {"true": "present", "called": "called", "excess": "called and present disagree"}[way]
        title = f"{names[one]} with {names[other]}: {said}"
        open_cases(audit, confusion.pair_rows(table, one, other, way), title, one)
