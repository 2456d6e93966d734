"""Two models on the same cases: paired differences of every figure, and the cases on which they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.comparison import (
    LOWER,
    MACRO,
    TITLES,
    ClassComparison,
    Matched,
    compare,
    disagreement,
    match,
    tenths,
)
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.paired import agreement, values_and_differences
from dashboard.figures.style import Figure
from dashboard.reports.comparison import comparison_table
from dashboard.widgets.audit.chart import Audit, chart, open_cases


def compare_tab(audit: Audit, other: AuditTable | None = None) -> None:
    """The table under audit is the first, ``other`` the second."""
    if other is None:
        st.info(
            "Choose a second table with scores of the same cases to compare two models, matched by the cases' ids.",
            icon=":material/info:",
        )
        return
    both = _matched(audit.table.digest, other.digest, audit.table.title, other.title, audit.table, other)
    st.caption(_said(both))
    found = _compared(audit.table.digest, other.digest, both)
    place, _ = st.columns([1, 2])
    figure = place.selectbox("Figure", list(TITLES), format_func=TITLES.__getitem__, key="compare-figure")
    names = [readable(one.name) for one in found]

    def draw(dark: bool) -> Figure:
        return values_and_differences(found, names, figure, TITLES[figure], both.titles, dark)

    clicked = chart(
        draw, f"compare-{figure}", f"{TITLES[figure]} of both tables and the difference", comparison_table(found)
    )
    if clicked in both.classes:
        k = both.classes.index(str(clicked))
        title = f"{readable(both.classes[k])}: cases on which the two disagree most first"
        open_cases(audit, disagreement(both, k), title, audit.table.column(both.classes[k]))
    st.caption(_how(found, figure, both))
    with st.expander("All numbers"):
        st.dataframe(_table(found), hide_index=True)
    if audit.finding in both.classes:
        _agreement(audit, both, both.classes.index(audit.finding))
    else:
        st.caption(f"{readable(audit.finding)} is not in both tables; choose another class in focus.")


@st.cache_resource(max_entries=4, show_spinner=False)
def _matched(
    digest: str, other_digest: str, title: str, other_title: str, _table: AuditTable, _other: AuditTable
) -> Matched:
    return match(_table, _other)


@st.cache_data(max_entries=4, show_spinner="Resampling both tables, some seconds ...")
def _compared(digest: str, other_digest: str, _both: Matched) -> tuple[ClassComparison, ...]:
    return compare(_both)


def _said(both: Matched) -> str:
    first, second = both.titles
    words = [f"First: {first}. Second: {second}. {len(both):,} cases are in both"]
    if any(both.alone):
        words.append(f"; {both.alone[0]:,} only in the first and {both.alone[1]:,} only in the second are left out")
    words.append(f". {len(both.classes)} common {'class' if len(both.classes) == 1 else 'classes'}.")
    if both.differing:
        words.append(f" **{both.differing:,} labels differ between the two tables** and are left out.")
    if both.half_known:
        words.append(f" {both.half_known:,} labels that only one table knows are left out.")
    return "".join(words)


def _how(found: Sequence[ClassComparison], figure: str, both: Matched) -> str:
    gaps = [one.figures[figure].difference for one in found if one.name != MACRO]
    tested = sum(gap.p is not None for gap in gaps)
    sure = sum((gap.adjusted or 1) < 0.05 for gap in gaps)
    better = "lower" if figure in LOWER else "higher"
    return (
        f"The {better} the better. Intervals: {REPLICATES:,} bootstrap replicates of whole {both.unit}, the same draws for "
        f"both tables. {tested} differences were tested; about {0.05 * tested:.2g} would stand out by chance alone; "
        f"{sure} {'does' if sure == 1 else 'do'} after Holm's adjustment. Click a class for the cases on which the two "
        "disagree most."
    )


def _agreement(audit: Audit, both: Matched, k: int) -> None:
    st.markdown(f"**Where the two agree about {readable(both.classes[k])}**")
    known = ~np.isnan(both.labels[:, k])
    place = tenths(both, k)
    cell = 10 * place[0] + place[1]
    counts = np.bincount(cell[known], minlength=100).reshape(10, 10)
    positives = np.bincount(cell[both.labels[:, k] == 1], minlength=100).reshape(10, 10)
    frame = pd.DataFrame(
        [
            {"first_tenth": a + 1, "second_tenth": b + 1, "cases": counts[a, b], "positive": positives[a, b]}
            for a, b in np.ndindex(10, 10)
        ]
    )
    clicked = chart(
        lambda dark: agreement(counts, positives, both.titles, dark),
        "compare-agreement",
        "Cases by the tenth of the scores in either table",
        frame,
    )
    if isinstance(clicked, int):
        rows = both.rows[0][known & (cell == clicked)]
        title = f"{readable(both.classes[k])}: tenth {clicked // 10 + 1} of the first, {clicked % 10 + 1} of the second"
        open_cases(audit, rows, title, audit.table.column(both.classes[k]))
    st.caption(
        "Each table's scores are cut into tenths, so that scores on different scales compare; tenth 10 holds the "
        "highest. Squares grow with the cases and are coloured by the share of positives; off the diagonal the two "
        "disagree. Click one for its cases."
    )


def _table(found: Sequence[ClassComparison]) -> pd.DataFrame:
    def lines() -> list[dict[str, object]]:
        return [
            {
                "Class": readable(one.name),
                "Figure": TITLES[figure],
                "First": pair.first.text,
                "Second": pair.second.text,
                "Difference": pair.difference.estimate.text,
                "p": _p(pair.difference.p),
                "p, Holm": _p(pair.difference.adjusted),
                "DeLong": "" if pair.delong is None else f"{pair.delong.text}, p = {_p(pair.test)}",
                "McNemar": ""
                if pair.discordant is None
                else f"{pair.discordant[0]:,} against {pair.discordant[1]:,}, p = {_p(pair.test)}",
            }
            for one in found
            for figure, pair in one.figures.items()
        ]

    return pd.DataFrame(lines())


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"
