"""How well every class is told apart and called, with intervals; the weakest named."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.discrimination import AVERAGES, TITLES, Discrimination, discrimination
from dashboard.audit.intervals import NO_ECE_INTERVAL, Estimate
from dashboard.audit.table import AuditTable, Rows
from dashboard.audit.weakest import Weakest, weakest
from dashboard.cases import readable
from dashboard.figures.intervals import Row, forest
from dashboard.figures.style import Figure
from dashboard.widgets.audit.chart import Audit, chart, open_cases

_CHANCE = {"auroc": 0.5, "balanced_accuracy": 0.5}


@st.cache_data(max_entries=16, show_spinner=False)
def _weakest(digest: str, _table: AuditTable) -> Weakest | None:
    return weakest(_table)


@st.cache_data(max_entries=16, show_spinner=False)
def measured(digest: str, replicates: int, _table: AuditTable) -> Discrimination:
    """The figures of a table; kept by its digest."""
    return discrimination(_table, replicates)


def headline(audit: Audit) -> Discrimination:
    """The strip over the tabs: values at once, intervals as soon as they are there."""
    place = st.empty()
    with place.container():
        group = _strip(audit.table, measured(audit.table.digest, 0, audit.table))
    found = measured(audit.table.digest, REPLICATES, audit.table)
    with place.container():
        group = _strip(audit.table, found)
        if group is not None:
            _weakest_group(group, _weakest(audit.table.digest, audit.table))
    return found


def _weakest_group(place: DeltaGenerator, worst: Weakest | None) -> None:
    with place:
        if worst is None:
            _tile("Weakest subgroup", "not estimated", "too few cases in every group")
        else:
            gap = worst.group.gaps["auroc"].estimate
            limits = "" if gap.low is None else f" ({gap.low:+.3f} to {gap.high:+.3f})"
            below = f"AUROC {gap.value:+.3f}{limits} against the rest; lowest of {worst.groups}"
            _tile("Weakest subgroup", f"{readable(worst.attribute)}: {worst.group.label}", below)


def _strip(table: AuditTable, found: Discrimination) -> DeltaGenerator | None:
    """The tiles; returns where the weakest subgroup goes, which takes longer, or None without attributes."""
    macro = found.averages.get("macro", {})
    with st.container(key=f"audit-strip-{found.replicates}"):
        _tile(
            "Cases", f"{len(table):,}", f"{table.patients:,} {table.unit}" if table.has_patients else "patients unknown"
        )
        _tile("AUROC, mean of classes", *_parts(macro["auroc"]))
        _tile("AUPRC, mean of classes", *_parts(macro["auprc"]))
        _tile("Calibration error (ECE)", *_parts(macro["ece"]))
        if found.accuracy is not None:
            _tile("Accuracy", *_parts(found.accuracy))
        worst = found.worst
        if worst is not None and len(found.classes) > 1:
            _tile("Weakest class", readable(worst.name), f"AUROC {worst.figures['auroc'].text}")
        if not table.attributes:
            return None
        group = st.empty()
        with group:
            _tile("Weakest subgroup", "...", "")
        return group


def _tile(title: str, value: str, below: str) -> None:
    with st.container(border=True, width="stretch"):
        st.caption(title)
        st.markdown(f"**{value}**")
        st.caption(below or " ")


def _parts(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "not estimated", estimate.note
    if estimate.chance is not None:
        return f"{estimate.value:.3f}", f"{estimate.chance:.3f} by chance"
    return f"{estimate.value:.3f}", "" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"


def overview_tab(audit: Audit, found: Discrimination) -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        metric = st.selectbox("Figure", list(TITLES), format_func=TITLES.__getitem__, key="audit-metric")
        ordered = sorted(found.classes, key=lambda one: -(one.figures[metric].value or 0.0))
        rows = [Row(readable(one.name), e.value, e.low, e.high, e.n) for one in ordered for e in [one.figures[metric]]]

        def draw(dark: bool) -> Figure:
            return forest(rows, TITLES[metric], _CHANCE.get(metric), dark, keys=[one.name for one in ordered])

        clicked = chart(draw, f"overview-{metric}", f"{TITLES[metric]} of each class", _data(found))
        if clicked is not None:
            k = audit.table.column(str(clicked))
            open_cases(audit, errors_of(audit.table, k), f"Wrong about {readable(str(clicked))}", k)
        st.caption("Click a class for the cases it is wrong about at its operating point.")
    with right:
        st.markdown("**All figures** with 95 % intervals")
        st.dataframe(
            _table(found),
            hide_index=True,
            height="content",
            column_config={"Class": st.column_config.Column(pinned=True, width=150)},
        )
        st.caption(_how(audit.table, found))


def errors_of(table: AuditTable, k: int) -> Rows:
    """Missed and falsely called cases of a class, the most confident first."""
    wrong = np.flatnonzero(table.known[:, k] & (table.decided[:, k] != table.positive[:, k]))
    sure = np.abs(table.scores[wrong, k] - (0 if table.exclusive else table.thresholds[k]))
    return wrong[np.argsort(-sure, kind="stable")]


def _table(found: Discrimination) -> pd.DataFrame:
    rows = [
        {
            "Class": readable(one.name),
            "Positive": f"{one.positives:,}",
            "Prevalence": f"{one.prevalence:.2%}",
            **{title: _text(one.figures[name]) for name, title in TITLES.items()},
            "AUPRC / prevalence": "" if one.lift is None else f"{one.lift:.1f}",
        }
        for one in found.classes
    ]
    rows += [
        {"Class": f"{kind.capitalize()} average", "Positive": "", "Prevalence": ""}
        | {title: _text(found.averages[kind][name]) for name, title in TITLES.items()}
        | {"AUPRC / prevalence": ""}
        for kind in AVERAGES
        if len(found.classes) > 1
    ]
    return pd.DataFrame(rows)


def _text(estimate: Estimate) -> str:
    """Why not is in the data and beside the marks; here it would not fit."""
    return "not estimated" if estimate.value is None else estimate.text


def _data(found: Discrimination) -> pd.DataFrame:
    def lines() -> Iterable[dict[str, object]]:
        for one in found.classes:
            for name, e in one.figures.items():
                yield {"class": one.name, "figure": name, "value": e.value, "low": e.low, "high": e.high, "n": e.n}

    return pd.DataFrame(lines())


def _how(table: AuditTable, found: Discrimination) -> str:
    guess = "AUPRC of a guess is the prevalence; the last column says how many times better it is."
    left_out = len(table.classes) - len(found.averaged)
    averages = (
        f" Averages leave out {left_out} of {len(table.classes)} classes: too few {table.unit}." if left_out else ""
    )
    unknown = int((~table.known).sum())
    labels = f" {unknown:,} unknown labels are left out." if unknown else ""
    point = (
        "the class with the largest score by threshold"
        if table.exclusive
        else "the operating point, a score of at least the threshold"
    )
    meaning = "; ".join(f"{kind}: {words}" for kind, words in AVERAGES.items())
    return (
        f"Averages: {meaning}. Intervals: {found.replicates:,} bootstrap replicates of whole {table.unit}. Called: {point}. "
        f"{guess}{averages}{_undefined(found)}{labels} ECE: {NO_ECE_INTERVAL[0].lower()}{NO_ECE_INTERVAL[1:]}"
    )


def _undefined(found: Discrimination) -> str:
    """Figures whose averages leave out more classes than that of AUROC does."""
    members = [one for one in found.classes if one.name in found.averaged]
    counts = {title: sum(one.figures[name].value is not None for one in members) for name, title in TITLES.items()}
    fewer = [f"{title} over {count}" for title, count in counts.items() if count < len(members)]
    return f" Averages of what not every class has: {', '.join(fewer)} classes." if fewer else ""
