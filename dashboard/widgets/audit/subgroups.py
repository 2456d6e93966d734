"""For whom the model fails: one figure in every group and against the rest, calibration, underdiagnosis, all findings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.grouping import Grouping, crossed, grouping
from dashboard.audit.subgroups import (
    BIASED,
    TITLES,
    UNDERDIAGNOSIS,
    Group,
    Subgroups,
    by_group,
    each_finding,
    errors_first,
    missed_entirely,
    underdiagnosis,
)
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.style import Figure
from dashboard.figures.subgroups import Cell, calibration, heat, values_and_gaps
from dashboard.widgets.audit.chart import Audit, chart, open_cases
from models.errors import DataError

_NO_SECOND = "nothing"
_MEANS = {
    "auroc": "How well positives are told from negatives: 0.5 is a guess, 1 is perfect.",
    "auprc": "Precision over all thresholds; it rises with the prevalence of the group, so compare prevalences too.",
    "sensitivity": "Share of the positives that are called, at the operating point.",
    "specificity": "Share of the negatives that are not called, at the operating point.",
    "false_positive_rate": "Share of the negatives that are called, at the operating point.",
    "ppv": "Share of the calls that are right; it rises with the prevalence of the group.",
    "ece": "How far scores are from observed rates on average. Chance alone makes it larger in small groups, so gaps "
    "have no interval: judge them by the mean score less the observed rate.",
    "miscalibration": "Above 0 the model overestimates in the group, below it underestimates.",
    "prevalence": "Share of positives among the labels.",
}
_Choice = tuple[str, str, tuple[float, ...]]  # attribute, second one or "", ends of ranges


def subgroups_tab(audit: Audit) -> None:
    """Choose a column, and perhaps a second one to cross it with."""
    table = audit.table
    if not table.attributes:
        st.info(
            "The table has no column to group by. Add one such as sex, age or view to the file and open it again.",
            icon=":material/info:",
        )
        return
    choice, figure, everything = _controls(audit)
    groups = _grouping(table, choice)
    if everything:
        *single, result = _each(table.digest, choice, table)
    else:
        result = _one(table.digest, choice, audit.focus, table)
    about = "mean of all findings" if everything else readable(audit.finding)

    def draw(dark: bool) -> Figure:
        return values_and_gaps(result.groups, figure, f"{TITLES[figure]}: {about}", dark)

    clicked = chart(
        draw, f"subgroups-{figure}", f"{TITLES[figure]} in each group and its difference from the rest", data(result)
    )
    _open(audit, result, clicked, about)
    st.caption(
        f"{_MEANS[figure]} {_multiplicity(result, figure, table.unit)} Click a group for its cases, errors first."
    )
    if groups.sides is not None:
        _crossed(audit, result, figure, about)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Calibration in each group**")
        clicked = chart(
            lambda dark: calibration(result.groups, dark),
            "subgroups-calibration",
            "Mean score and observed rate",
            data(result),
        )
        _open(audit, result, clicked, about)
        st.caption("Where the two marks are apart, a score does not mean the same as elsewhere.")
    with right:
        _underdiagnosis(audit, choice)
    with st.expander("All numbers"):
        st.dataframe(_table(result, table.unit), hide_index=True)
    if everything:
        _findings(audit, single, figure)


def _controls(audit: Audit) -> tuple[_Choice, str, bool]:
    table = audit.table
    places = st.columns([2, 2, 2, 3], vertical_alignment="bottom")
    first = places[0].selectbox("Group by", table.attributes, format_func=readable, key="subgroups-by")
    others = [_NO_SECOND, *(name for name in table.attributes if name != first)]
    second = places[1].selectbox("Crossed with", others, format_func=readable, key=f"subgroups-with-{first}")
    figure = places[2].selectbox("Figure", list(TITLES), format_func=TITLES.__getitem__, key="subgroups-figure")
    everything = False
    if len(table.classes) > 1:
        scope = places[3].segmented_control(
            "Findings",
            ["focus", "all"],
            default="focus",
            format_func={"focus": readable(audit.finding), "all": "Mean of all"}.__getitem__,
            key="subgroups-scope",
        )
        everything = scope == "all"
    edges: tuple[float, ...] = ()
    if pd.api.types.is_numeric_dtype(table.cases[first]):
        typed = st.text_input(
            f"Ends of the ranges of {readable(first)}",
            placeholder="decades of age, quarters of other numbers; or your own, such as 18, 40, 65",
            key=f"subgroups-edges-{first}",
        )
        edges = _edges(typed)
    return (first, "" if second == _NO_SECOND else second, edges), figure, everything


def _edges(typed: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in typed.replace(";", ",").split(",") if part.strip())
    except ValueError:
        raise DataError(f"{typed!r} is no list of numbers; write the ends of the ranges as 18, 40, 65.") from None


def _grouping(table: AuditTable, choice: _Choice) -> Grouping:
    first, second, edges = choice
    groups = grouping(table, first, edges or None)
    return crossed(groups, grouping(table, second)) if second else groups


@st.cache_data(max_entries=32, show_spinner="Resampling ...")
def _one(digest: str, choice: _Choice, finding: int, _table: AuditTable) -> Subgroups:
    return by_group(_table, _grouping(_table, choice), [finding])


@st.cache_data(max_entries=8, show_spinner="Resampling all findings, some seconds ...")
def _each(digest: str, choice: _Choice, _table: AuditTable) -> tuple[Subgroups, ...]:
    return each_finding(_table, _grouping(_table, choice))


@st.cache_data(max_entries=8, show_spinner=False)
def _missed(digest: str, choice: _Choice, _table: AuditTable) -> Subgroups | None:
    return underdiagnosis(_table, _grouping(_table, choice))


def _open(audit: Audit, result: Subgroups, clicked: object, about: str) -> None:
    for group in result.groups:
        if group.label == clicked:
            rows = errors_first(audit.table, group.rows, result.findings)
            finding = audit.focus if audit.focus in result.findings else result.findings[0]
            open_cases(audit, rows, f"{readable(result.grouping.name)} {group.label}: {about}, errors first", finding)


def _multiplicity(result: Subgroups, figure: str, unit: str) -> str:
    tested = result.comparisons(figure)
    gaps = [group.gaps[figure] for group in result.groups]
    if not tested:
        return "No gap could be tested." if figure != "ece" else f"Gaps: {BIASED}."
    mirrored = tested < sum(one.p is not None for one in gaps)
    excluded = sum(
        one.estimate.low is not None and (one.estimate.low > 0 or (one.estimate.high or 0) < 0) for one in gaps
    )
    sure = sum((one.adjusted or 1) < 0.05 for one in gaps)
    if mirrored:
        excluded, sure = excluded // 2, sure // 2
    return (
        f"{tested} {'gap was' if tested == 1 else 'gaps were'} tested; by chance alone about {0.05 * tested:.2g} of "
        f"{tested} would have an interval that leaves out 0, here {excluded} did. After Holm's adjustment {sure} "
        f"{'is' if sure == 1 else 'are'} beyond chance (diamonds). Intervals: {REPLICATES:,} bootstrap replicates of "
        f"whole {unit}; p by a normal approximation with their standard error."
    )


def _crossed(audit: Audit, result: Subgroups, figure: str, about: str) -> None:
    first, second = result.grouping.sides or ((), ())
    count = len(second)
    cells = [
        [_cell(group, figure, group.label) for group in result.groups[row * count : (row + 1) * count]]
        for row in range(len(first))
    ]
    clicked = chart(
        lambda dark: heat(first, second, cells, "gap", dark),
        f"subgroups-crossed-{figure}",
        f"{TITLES[figure]} in each pair of groups",
        data(result),
    )
    _open(audit, result, clicked, about)
    st.caption(f"{TITLES[figure]} in each pair of groups; the colour is the gap to all other cases.")


def _cell(group: Group, figure: str, key: str | int) -> Cell:
    value, gap = group.values[figure], group.gaps[figure]
    sure = "*" if (gap.adjusted or 1) < 0.05 else ""
    hover = (
        f"{group.label}<br>{value.text}<br>gap {gap.estimate.text}<br>{group.n:,} cases, {group.positives:,} positive"
    )
    text = "too few" if value.value is None else f"{value.value:.2f}{sure}"
    return Cell(key, text, hover, gap.estimate.value)


def _underdiagnosis(audit: Audit, choice: _Choice) -> None:
    st.markdown("**Underdiagnosis: ill, but nothing is called**")
    result = _missed(audit.table.digest, choice, audit.table)
    if result is None:
        st.caption("Not available: the classes exclude each other and none of them says that there is no finding.")
        return
    clicked = chart(
        lambda dark: values_and_gaps(result.groups, UNDERDIAGNOSIS, "Share missed", dark),
        "subgroups-underdiagnosis",
        "Share of cases with a finding for which nothing is called, in each group",
        data(result),
    )
    for group in result.groups:
        if group.label == clicked:
            _, missed = missed_entirely(audit.table, result.findings)
            rows = group.rows[np.argsort(~missed[group.rows], kind="stable")]
            open_cases(audit, rows, f"{group.label}: any finding, those with no call first")
    st.caption(
        'False-positive rate of "no finding": among cases with any true finding, the share with none called '
        f"(Seyyed-Kalantari 2021). {_multiplicity(result, UNDERDIAGNOSIS, audit.table.unit)}"
    )


def _findings(audit: Audit, single: list[Subgroups], figure: str) -> None:
    groups = single[0].grouping.labels
    cells = [
        [_cell(group, figure, k * len(groups) + g) for g, group in enumerate(result.groups)]
        for k, result in enumerate(single)
    ]
    names = [readable(audit.table.classes[result.findings[0]]) for result in single]
    st.markdown(f"**{TITLES[figure]} of every finding in every group**")
    frame = pd.concat([data(result).assign(finding=name) for name, result in zip(names, single, strict=True)])
    clicked = chart(
        lambda dark: heat(names, groups, cells, "gap", dark),
        f"subgroups-findings-{figure}",
        f"{TITLES[figure]} of every finding in every group",
        frame,
    )
    if isinstance(clicked, int):
        result, place = single[clicked // len(groups)], clicked % len(groups)
        _open(audit, result, groups[place], names[clicked // len(groups)])
    tested = sum(result.comparisons(figure) for result in single)
    st.caption(
        f"The colour is the gap to all other cases; a star where it is beyond chance after Holm's adjustment over all "
        f"{tested} comparisons, of which about {0.05 * tested:.2g} would stand out by chance without it."
    )


def data(result: Subgroups) -> pd.DataFrame:
    """Every figure of every group, one a line."""
    return pd.DataFrame(
        {
            "group": group.label,
            "figure": figure,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "n": value.n,
            "note": value.note,
            "gap": group.gaps[figure].estimate.value,
            "gap_low": group.gaps[figure].estimate.low,
            "gap_high": group.gaps[figure].estimate.high,
            "p": group.gaps[figure].p,
            "p_holm": group.gaps[figure].adjusted,
        }
        for group in result.groups
        for figure, value in group.values.items()
    )


def _table(result: Subgroups, unit: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"Group": group.label, "Cases": group.n, unit.capitalize(): group.patients, "Positive": group.positives}
        | {title: group.values[figure].text for figure, title in TITLES.items()}
        for group in result.groups
    )
