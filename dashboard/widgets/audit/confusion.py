"""What is taken for what: every cell opens its cases, the most confident first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit import confusion
from dashboard.cases import readable
from dashboard.figures.confusion import Cells, grid
from dashboard.widgets.audit.cells import (
    HUNDREDS,
    choice,
    counted,
    each,
    long_frame,
    percent,
    share_columns,
    share_text,
)
from dashboard.widgets.audit.chart import Audit, chart, open_cases
from dashboard.widgets.audit.confusion_pairs import called_instead, called_together

_WAYS = {"true": "Share of the true class", "decided": "Share of those decided", "counts": "Counts"}
_STATES = (("present", True, True), ("present", True, False), ("absent", False, True), ("absent", False, False))
_OUTCOMES = ("Found", "Missed", "False alarm", "Cleared")
_WILSON = "Intervals of shares: 95 % Wilson, which takes cases as independent."


def confusion_tab(audit: Audit) -> None:
    """Exclusive classes as one matrix, findings one by one and against each other."""
    table = audit.table
    unknown = int((~table.known).sum())
    if unknown:
        st.caption(f":material/info: {unknown:,} unknown labels are left out of every count.")
    if table.exclusive:
        _matrix(audit)
    left, right = st.columns([2, 3], gap="large")
    with left:
        _finding(audit)
    if len(table.classes) > 1:
        with right:
            _findings(audit)
    if not table.exclusive and len(table.classes) > 1:
        with left:
            st.caption(_WILSON)
        called_instead(audit)
        called_together(audit)


def _matrix(audit: Audit) -> None:
    table = audit.table
    way = choice("Cells show", _WAYS, "confusion-way")
    counts = confusion.matrix(table)
    rows, columns = confusion.by_row(counts), confusion.by_column(counts)
    shown = columns if way == "decided" else rows
    names = [readable(name) for name in table.classes]

    def hover(row: int, column: int) -> str:
        return (
            f"<b>True {names[row]}, decided {names[column]}</b><br>{counts[row, column]:,} cases"
            f"<br>{share_text(rows, row, column)} of true {names[row]}"
            f"<br>{share_text(columns, row, column)} of those decided {names[column]}"
        )

    cells = Cells(
        counted(names, counts.sum(1)),
        counted(names, counts.sum(0)),
        np.nan_to_num(shown.value),
        each(counts.shape, lambda r, c: f"{counts[r, c]:,}" if way == "counts" else percent(shown.value[r, c])),
        each(counts.shape, hover),
        "True",
        "Decided",
        "share of those decided" if way == "decided" else "share of the true class",
        HUNDREDS,
    )
    data = long_frame(
        names,
        {"cases": counts, **share_columns("of_true", rows), **share_columns("of_decided", columns)},
        "true",
        "decided",
    )
    clicked = chart(lambda dark: grid(cells, dark), f"confusion-matrix-{way}", "Confusion matrix", data)
    st.caption(f"Click a cell for its cases, the most confident first. {_WILSON}")
    if clicked is not None:
        true, decided = divmod(int(str(clicked)), len(names))
        title = f"True {names[true]}, decided {names[decided]}"
        open_cases(audit, confusion.matrix_rows(table, true, decided), title, decided)


def _finding(audit: Audit) -> None:
    name = readable(audit.finding)
    counts = confusion.two_by_two(audit.table)[audit.focus]
    rows, columns = confusion.by_row(counts), confusion.by_column(counts)
    truth, calls = (f"{name} present", f"{name} absent"), ("Called", "Not called")

    def hover(row: int, column: int) -> str:
        below = [f"{share_text(rows, row, column)} of those with {truth[row]}"]
        below += [f"{share_text(columns, row, column)} of those {calls[column].lower()}"]
        return f"<b>{_OUTCOMES[2 * row + column]}</b><br>{counts[row, column]:,} cases<br>" + "<br>".join(below)

    cells = Cells(
        [f"{side}<br>n = {total:,}" for side, total in zip(("Present", "Absent"), counts.sum(1), strict=True)],
        [f"{call}<br>n = {total:,}" for call, total in zip(calls, counts.sum(0), strict=True)],
        np.nan_to_num(rows.value),
        each((2, 2), lambda r, c: f"{_OUTCOMES[2 * r + c]}<br>{counts[r, c]:,}<br>{percent(rows.value[r, c])}"),
        each((2, 2), hover),
        "",
        "",
    )
    st.markdown(f"**{name}** at its operating point")
    data = pd.DataFrame(
        {"outcome": _OUTCOMES, "cases": counts.ravel()}
        | {
            key: part.ravel()
            for key, part in (share_columns("of_true", rows) | share_columns("of_called", columns)).items()
        }
    )
    clicked = chart(
        lambda dark: grid(cells, dark).update_layout(height=300),
        f"confusion-finding-{audit.finding}",
        f"2 x 2 of {name}",
        data,
    )
    st.table(
        pd.DataFrame(
            {
                "": ["Sensitivity", "Specificity", "PPV", "NPV"],
                "95 % interval": [
                    share_text(rows, 0, 0),
                    share_text(rows, 1, 1),
                    share_text(columns, 0, 0),
                    share_text(columns, 1, 1),
                ],
                "n": [f"{part.total[r, r]:,}" for part in (rows, columns) for r in (0, 1)],
            }
        ),
        border="horizontal",
        hide_index=True,
    )
    if clicked is not None:
        _open_finding(audit, audit.focus, int(str(clicked)))


def _findings(audit: Audit) -> None:
    names = [readable(name) for name in audit.table.classes]
    counts = confusion.two_by_two(audit.table)
    rows = confusion.by_row(counts)
    flat, share = counts.reshape(-1, 4), rows.value.reshape(-1, 4)

    def hover(k: int, place: int) -> str:
        return (
            f"<b>{names[k]}: {_OUTCOMES[place].lower()}</b><br>{flat[k, place]:,} cases<br>"
            f"{share_text(rows, k, *divmod(place, 2))} of those with it {_STATES[place][0]}"
        )

    cells = Cells(
        names,
        _OUTCOMES,
        np.nan_to_num(share),
        each(flat.shape, lambda k, place: f"{flat[k, place]:,}  ({percent(share[k, place])})"),
        each(flat.shape, hover),
        "",
        "",
    )
    st.markdown("**Every class against the rest**" if audit.table.exclusive else "**Every finding**")
    data = pd.DataFrame({"class": audit.table.classes} | dict(zip(_OUTCOMES, flat.T, strict=True)))
    clicked = chart(lambda dark: grid(cells, dark), "confusion-findings", "Outcomes of every finding", data)
    st.caption("Shares are of those with the finding (first two) and of those without. Click a cell for its cases.")
    if clicked is not None:
        _open_finding(audit, *divmod(int(str(clicked)), 4))


def _open_finding(audit: Audit, column: int, place: int) -> None:
    state, present, called = _STATES[place]
    rows = confusion.finding_rows(audit.table, column, present, called)
    name = readable(audit.table.classes[column])
    open_cases(audit, rows, f"{name} {state}, {'called' if called else 'not called'}", column)
