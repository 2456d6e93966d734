"""How unequal the classes are, what it does to the figures, and what can be done about it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit import imbalance
from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.discrimination import Discrimination
from dashboard.audit.imbalance import Leak
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.imbalance import against_prevalence, prevalence_chart
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit, chart, open_cases
from dashboard.widgets.audit.label_pairs import labels_together
from dashboard.widgets.audit.overview import measured

_METRICS = {"auprc": "AUPRC", "auroc": "AUROC", "lift": "AUPRC / prevalence"}
_LOSSES = {
    "weighted": "Inverse frequency",
    "root-weighted": "Its square root",
    "effective-number": "Effective number",
    "logit-adjusted": "Logit offset",
}


@st.cache_data(max_entries=8, show_spinner=False)
def _prevalence(digest: str, _table: AuditTable) -> pd.DataFrame:
    return imbalance.prevalence(_table)


@st.cache_data(max_entries=8, show_spinner=False)
def _leakage(digest: str, _table: AuditTable) -> tuple[Leak, ...]:
    return imbalance.leakage(_table)


def imbalance_tab(audit: Audit) -> None:
    """Prevalence, figures against it, what is needed, labels that come together, patients in two parts."""
    frame = _prevalence(audit.whole.digest, audit.whole)
    found = measured(audit.table.digest, REPLICATES, audit.table)
    _leaks(audit)
    log = st.toggle("Logarithmic prevalence", value=True, key="imbalance-log")
    left, right = st.columns(2, gap="large")
    with left:
        _common(audit, frame, log)
    with right:
        _against(audit, found, log)
    _counts(frame, audit.table.unit)
    _needed(audit, found)
    _weights(audit)
    if not audit.table.exclusive and len(audit.table.classes) > 1:
        labels_together(audit)


def _common(audit: Audit, frame: pd.DataFrame, log: bool) -> None:
    st.markdown("**How common each class is**")

    def draw(dark: bool):  # type: ignore[no-untyped-def]
        return prevalence_chart(frame, log, dark)

    clicked = chart(draw, f"imbalance-prevalence-{log}", "Prevalence of each class", frame)
    st.caption("With 95 % Wilson intervals. Click a class for its positive cases, the least probable first.")
    if clicked is not None:
        row = frame.iloc[int(str(clicked))]
        whole, name, part = audit.whole, str(row["class"]), str(row["split"])
        column = whole.column(name)
        rows = imbalance.class_rows(whole, column)
        if part in whole.splits:
            rows = rows[(whole.cases["split"] == part).to_numpy(bool)[rows]]
        here = imbalance.rows_in(audit.table, whole, rows)
        if len(here) < len(rows):
            st.info(f"These cases are in the part {part}; choose it above to see them.", icon=":material/info:")
        else:
            open_cases(audit, here, f"True {readable(name)}", column)


def _against(audit: Audit, found: Discrimination, log: bool) -> None:
    metric = choice("Figure against prevalence", _METRICS, "imbalance-metric")
    data = pd.DataFrame(
        [
            {
                "class": one.name,
                "prevalence": one.prevalence,
                "positives": one.positives,
                **{f"{name}{end}": value for name in ("auroc", "auprc") for end, value in _ends(one.figures[name])},
                "auprc_by_prevalence": one.lift,
            }
            for one in found.classes
        ]
    )
    clicked = chart(
        lambda dark: against_prevalence(found.classes, metric, _METRICS[metric], log, dark),
        f"imbalance-{metric}-{log}",
        f"{_METRICS[metric]} of each class over its prevalence",
        data,
    )
    few = [readable(one.name) for one in found.classes if one.figures["auprc"].value is None]
    without = f" Not estimated, too few cases: {', '.join(few)}." if few else ""
    st.caption(
        f"Broken line: what a guess reaches. Intervals over {audit.table.unit}; those of AUPRC / prevalence take the "
        f"prevalence as it is.{without} Click a class for its positive cases."
    )
    if clicked is not None:
        column = audit.table.column(str(clicked))
        open_cases(audit, imbalance.class_rows(audit.table, column), f"True {readable(str(clicked))}", column)


def _ends(estimate) -> list[tuple[str, float | None]]:  # type: ignore[no-untyped-def]
    return [("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)]


def _counts(frame: pd.DataFrame, unit: str) -> None:
    st.markdown("**Counts**")
    shown = pd.DataFrame(
        {
            "Part": frame["split"],
            "Class": frame["class"].map(readable),
            "Cases": frame["images"],
            unit.capitalize(): frame["patients"],
            "Positive": frame["positives"],
            f"Positive {unit}": frame["positive_patients"],
            "Prevalence": 100 * frame["prevalence"],
            "95 % interval": [
                "" if np.isnan(low) else f"{low:.2%} to {high:.2%}"
                for low, high in zip(frame["low"], frame["high"], strict=True)
            ],
            "Imbalance ratio": frame["imbalance_ratio"].replace(np.inf, np.nan),
            "Effective positives": frame["effective"],
            "Always no is right in": 100 * frame["always_no"],
        }
    )
    if len(set(frame["split"])) == 1:
        shown = shown.drop(columns="Part")
    forms = {
        "Prevalence": "%.2f %%",
        "Imbalance ratio": "%.1f",
        "Effective positives": "%.0f",
        "Always no is right in": "%.2f %%",
    }
    st.dataframe(
        shown,
        hide_index=True,
        height=min(560, 37 + 35 * len(shown)),
        column_config={name: st.column_config.NumberColumn(format=form) for name, form in forms.items()},
    )
    st.caption(
        "Imbalance ratio: negatives for each positive; where classes exclude each other, cases of the largest class "
        "for each of this one. Effective positives: (1 - 0.999^n) / 0.001, what n alike samples are worth (Cui et al. "
        "2019). Always no: the accuracy of never calling the class, which an accuracy has to beat."
    )


def _needed(audit: Audit, found: Discrimination) -> None:
    st.markdown("**Positives needed to know the sensitivity within 0.05**")
    worst = imbalance.positives_needed(0.5)
    rows = []
    for one in found.classes:
        value = one.figures["sensitivity"].value
        needed = None if value is None else imbalance.positives_needed(value)
        rows.append(
            {
                "Class": readable(one.name),
                "Sensitivity": one.figures["sensitivity"].text,
                "Positives here": one.positives,
                "Needed at this sensitivity": needed,
                "Needed at worst": worst,
                "Cases to look through": None if needed is None or not one.positives else needed / one.prevalence,
                "Enough here": "" if needed is None else "yes" if one.positives >= needed else "no",
            }
        )
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=min(560, 37 + 35 * len(rows)),
        column_config={"Cases to look through": st.column_config.NumberColumn(format="%.0f")},
    )
    st.caption(
        "n = p (1 - p) 1.96² / 0.05² (Wald) at the sensitivity p seen here, and at p = 0.5, the worst. No number where "
        "p is 0 or 1, to which the formula does not apply. Several cases of one patient count for less."
    )


def _weights(audit: Audit) -> None:
    table = audit.table
    train = [name for name in audit.whole.splits if name.casefold().startswith("train")]
    source = audit.whole.in_split(train[0]) if train else table
    frame = imbalance.loss_weights(source)
    st.markdown("**What each loss would weigh**")
    shown = pd.DataFrame(
        {"Class": frame["class"].map(readable)} | {said: frame[name] for name, said in _LOSSES.items()}
    )
    st.dataframe(
        shown,
        hide_index=True,
        height=min(560, 37 + 35 * len(shown)),
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in _LOSSES.values()},
    )
    where = f"the part {train[0]}" if train else "these cases, as if they were the training data"
    kind = (
        "n / p, its root and 1 / effective number, each divided by its mean; the offset is ln(prior)"
        if table.exclusive
        else "(n - p) / p, its root and the effective number of negatives by that of positives, on the positive term; "
        "the offset is ln(prior / (1 - prior))"
    )
    st.caption(f"From {where}, of n labels with p positive: {kind}. Plain cross-entropy weighs every class 1.")


def _leaks(audit: Audit) -> None:
    whole = audit.whole
    leaks = _leakage(whole.digest, whole)
    if not leaks:
        return
    if not whole.has_patients:
        st.info("Whether parts share patients cannot be told: the table names no patients.", icon=":material/info:")
    for leak in leaks:
        if not leak.patients and not leak.cases:
            continue
        words, button = st.columns([4, 1], vertical_alignment="center")
        words.warning(
            f"{leak.patients:,} {'patient is' if leak.patients == 1 else 'patients are'} in both {leak.one} and "
            f"{leak.other}{f', {leak.cases:,} cases with them' if leak.cases else ''}: figures may be too good.",
            icon=":material/warning:",
        )
        if button.button("Show their cases", key=f"imbalance-leak-{leak.one}-{leak.other}"):
            rows = imbalance.rows_in(audit.table, whole, leak.rows)
            open_cases(audit, rows, f"Patients in {leak.one} and {leak.other}")
    if whole.has_patients and not any(leak.patients or leak.cases for leak in leaks):
        st.caption(f":material/check: No patient is in two parts ({', '.join(whole.splits)}).")
