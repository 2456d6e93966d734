"""Where to draw the line for one class: curves, rules, the clinic's prevalence, net benefit, and a point to keep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.decision import DecisionCurve, decision_curve
from dashboard.audit.intervals import Estimate
from dashboard.audit.operating import TITLES, Curves, Line, at_threshold, curves, over_prevalence
from dashboard.audit.table import AuditTable
from dashboard.audit.thresholds import Called, called, rates
from dashboard.cases import readable
from dashboard.figures.operating import Mark, against, decision, precision_recall, roc
from dashboard.figures.style import Figure
from dashboard.widgets.audit.chart import Audit, chart
from dashboard.widgets.audit.operating_point import Choice, chosen_point, click, keep, show_called
from dashboard.widgets.audit.replicates import drawn

_PREVALENCES = np.geomspace(0.0005, 0.6, 80)
_CLINIC = [float(f"{value:.2g}") for value in np.geomspace(0.0005, 0.6, 60)]


def thresholds_tab(audit: Audit) -> None:
    """Everything of the tab, top to bottom."""
    table, index = audit.table, audit.focus
    found = _curves(table.digest, index, table)
    swept, name = found.swept, readable(audit.finding)
    if not swept.positives or not swept.negatives:
        st.info(
            f"A threshold for {name} needs cases with and without it; this part has {swept.positives:,} and "
            f"{swept.negatives:,}. Choose another class or part.",
            icon=":material/info:",
        )
        return
    choice = chosen_point(audit, found)
    calls = called(table, index, choice.threshold)
    _strip(table, index, choice)
    if found.scarce:
        st.caption(f"No bands: {found.scarce}.")
    show_called(audit, choice, calls)
    _two_curves(audit, found, choice, calls)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Against the threshold**")
        _against(audit, found, choice)
    with right:
        st.markdown("**Against the prevalence** at this threshold")
        _prevalence(audit, choice)
    _decision(audit, choice)
    st.divider()
    keep(audit, choice, swept.positives + swept.negatives)


@st.cache_data(max_entries=32, show_spinner="Resampling ...")
def _curves(digest: str, index: int, _table: AuditTable) -> Curves:
    return curves(_table, index, drawn(digest, _table))


@st.cache_data(max_entries=256, show_spinner=False)
def _figures(
    digest: str, index: int, threshold: float, prevalence: float | None, _table: AuditTable
) -> dict[str, Estimate]:
    return at_threshold(_table, index, threshold, drawn(digest, _table), prevalence)


@st.cache_data(max_entries=64, show_spinner=False)
def _over_prevalence(digest: str, index: int, threshold: float, _table: AuditTable) -> tuple[Line, Line]:
    return over_prevalence(_table, index, threshold, drawn(digest, _table), _PREVALENCES)


@st.cache_data(max_entries=32, show_spinner=False)
def _decisions(digest: str, index: int, top: float, prevalence: float | None, _table: AuditTable) -> DecisionCurve:
    return decision_curve(_table, index, drawn(digest, _table), np.linspace(0, top, 101)[1:], prevalence)


def _strip(table: AuditTable, index: int, choice: Choice) -> None:
    """The figures at the threshold, as in the table and at the clinic's prevalence."""
    rows = []
    own = float(table.positive[:, index].sum() / max(1, table.known[:, index].sum()))
    for title, prevalence in ((f"As in this table ({own:.2%} positive)", None), ("Clinic", choice.prevalence)):
        if title == "Clinic":
            if prevalence is None:
                continue
            title = f"Where {prevalence:.2%} are positive"
        found = _figures(table.digest, index, choice.threshold, prevalence, table)
        rows.append({"": title} | {TITLES[key]: _text(key, estimate) for key, estimate in found.items()})
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        f"Called from a score of {choice.threshold:.4g} ({choice.how}). 95 % intervals from resampled {table.unit}. "
        "PPV: share of called cases that are positive; NPV: share of the others that are not."
    )


def _text(key: str, estimate: Estimate) -> str:
    if key == "alerts" and estimate.value is not None:
        return estimate.rounded(0)
    return estimate.text


def _two_curves(audit: Audit, found: Curves, choice: Choice, calls: Called) -> None:
    positives, negatives = found.swept.positives, found.swept.negatives
    at = rates(len(calls.true_positive), len(calls.false_positive), positives, negatives)
    words = f"threshold {choice.threshold:.4g}<br>sensitivity {at.sensitivity:.3f}<br>specificity {at.specificity:.3f}"
    here = Mark(1 - float(at.specificity), float(at.sensitivity), words)
    there = Mark(float(at.sensitivity), float(at.ppv), f"{words}<br>PPV {at.ppv:.3f}")
    n, name = (positives, negatives), audit.finding

    def draw_roc(dark: bool) -> Figure:
        return roc(found.fpr, found.roc, found.threshold, here, n, dark)

    def draw_pr(dark: bool) -> Figure:
        return precision_recall(found.recall, found.pr, found.threshold, there, n, dark)

    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**ROC**: the ring is the threshold at hand; click a point to choose its threshold")
        click(
            audit, chart(draw_roc, f"roc-{name}", f"ROC curve of {readable(name)}", _data(found.roc, found, found.fpr))
        )
    with right:
        st.markdown("**Precision and recall**: the broken line is the prevalence")
        data = _data(found.pr, found, found.recall)
        click(audit, chart(draw_pr, f"pr-{name}", f"Precision-recall curve of {readable(name)}", data))


def _against(audit: Audit, found: Curves, choice: Choice) -> None:
    log = st.toggle("Logarithmic threshold", value=True, key="threshold-log", persist_state="session")
    alerts = found.against["alerts"]
    share = Line("Share called (alerts)", *(part / 1000 for part in (alerts.value, alerts.low, alerts.high)))
    lines = [*(found.against[key] for key in ("sensitivity", "specificity", "ppv", "npv")), share]

    def draw(dark: bool) -> Figure:
        return against(found.threshold, lines, "Threshold", choice.threshold, log, dark)

    data = pd.concat([_data(line, found, found.threshold) for line in lines])
    chart(draw, f"threshold-{audit.finding}-{log}", "Figures against the threshold", data)


def _prevalence(audit: Audit, choice: Choice) -> None:
    table, name = audit.table, audit.finding
    own = float(table.positive[:, audit.focus].sum() / table.known[:, audit.focus].sum())
    st.select_slider(
        "Prevalence in the clinic",
        ["as in the table", *_CLINIC],
        format_func=lambda value: value if isinstance(value, str) else f"{value:.2%}",
        key=f"clinic-{table.title}-{name}",
        persist_state="session",
        help="Sensitivity and specificity are taken to stay as they are; PPV and NPV follow by Bayes' rule.",
    )
    lines = _over_prevalence(table.digest, audit.focus, choice.threshold, table)
    at = own if choice.prevalence is None else choice.prevalence

    def draw(dark: bool) -> Figure:
        return against(_PREVALENCES, lines, "Prevalence", at, True, dark)

    data = pd.concat([pd.DataFrame(_columns(line) | {"prevalence": _PREVALENCES}) for line in lines])
    chart(draw, f"prevalence-{name}", "PPV and NPV against the prevalence", data)


def _decision(audit: Audit, choice: Choice) -> None:
    table = audit.table
    own = float(table.positive[:, audit.focus].sum() / table.known[:, audit.focus].sum())
    st.markdown("**Is acting on it worth it?** Net benefit: cases rightly acted on, less those wrongly, weighed")
    options = [0.02, 0.05, 0.1, 0.2, 0.5, 0.99]
    suited = next((value for value in options if value >= 4 * own), 0.99)
    top = st.segmented_control(
        "Up to a probability of",
        options,
        default=suited,
        required=True,
        key=f"decision-{table.title}-{audit.finding}",
        persist_state="session",
    )
    found = _decisions(table.digest, audit.focus, float(top or suited), choice.prevalence, table)
    data = pd.DataFrame(
        {"threshold": found.threshold, "model": found.model, "low": found.low, "high": found.high,
         "act_on_all": found.treat_all}
    )  # fmt: skip
    chart(lambda dark: decision(found, choice.threshold, dark), f"decision-{audit.finding}", "Decision curve", data)
    st.caption(
        "Acting from a probability of 10 % means that nine false alarms weigh as much as one case found. A model is "
        "useful where its line is above both others. Read it only where the scores are calibrated (Calibration tab)."
    )


def _data(line: Line, found: Curves, x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"threshold": found.threshold, "x": x} | _columns(line))


def _columns(line: Line) -> dict[str, object]:
    return {"figure": line.name, "value": line.value, "low": line.low, "high": line.high}
