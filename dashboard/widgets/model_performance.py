"""How well a model did on images it was not trained on, by class and by subgroup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

from dashboard import cards as words
from dashboard.cases import readable
from dashboard.figures.confusion import confusion
from dashboard.figures.intervals import Row, forest
from dashboard.widgets.model_figure import show
from models.card import Measure, ModelCard
from models.evaluation import CalibrationReport, Evaluation

_MAIN = ("AUROC", "Dice at 0.5")  # by which classes and subgroups are compared, the first that was measured


def performance_tab(card: ModelCard, evaluation: Evaluation | None) -> None:
    if evaluation is None:
        st.info("No evaluation is stored beside this model, so only the card's figures are shown.")
        _table(card.performance)
        return
    tested = [measure for measure in evaluation.measures if measure.split == "test"]
    alone = len(card.classes) == 1
    overall = (measure for measure in evaluation.measures if not measure.subgroup and (alone or not measure.subject))
    _table((*overall, *evaluation.metadata))
    left, right = st.columns(2, gap="large")
    with left:
        _by_class(tested)
    with right:
        _by_subgroup(tested)
    if evaluation.confusion is not None:
        st.markdown("**Confusion**: rows are the true classes, columns those decided for")
        names = [readable(name) for name in evaluation.confusion.classes]
        show(lambda dark: confusion(names, evaluation.confusion.matrix, dark), "confusion", "Confusion matrix")  # type: ignore[union-attr]
    _calibration(evaluation.calibration)
    st.markdown("**All figures**")
    st.dataframe(_frame(evaluation.measures), hide_index=True)


def _by_class(measures: Sequence[Measure]) -> None:
    metric = _main([measure for measure in measures if measure.subject and not measure.subgroup])
    chosen = [m for m in measures if m.metric == metric and m.subject and not m.subgroup]
    if not chosen:
        st.caption("No figures by class were measured.")
        return
    st.markdown(f"**By class**: {metric} with its 95 % interval")
    rows = [_row(measure, readable(measure.subject)) for measure in chosen]
    show(lambda dark: forest(rows, metric, _chance(metric), dark), "by-class", f"{metric} of each class")


def _by_subgroup(measures: Sequence[Measure]) -> None:
    grouped = [measure for measure in measures if measure.subgroup]
    if not grouped:
        st.caption("No figures by subgroup were measured.")
        return
    kinds = list(dict.fromkeys((measure.metric, measure.subject) for measure in grouped))
    metric, subject = kinds[0]
    if len(kinds) > 1:
        metric, subject = st.selectbox(
            "Figure by subgroup", kinds, format_func=lambda kind: " · ".join(readable(part) for part in kind if part)
        )
    st.markdown(f"**By subgroup**: {metric} with its 95 % interval")
    rows = [_row(m, readable(m.subgroup)) for m in grouped if (m.metric, m.subject) == (metric, subject)]
    show(lambda dark: forest(rows, metric, _chance(metric), dark), "by-subgroup", f"{metric} of each subgroup")


def _calibration(report: CalibrationReport) -> None:
    tried = [(f"validation, {entry.method}", entry, entry.method == report.method) for entry in report.validation]
    tried += [(f"test, {name} calibration", entry, False) for name, entry in report.test.items()]
    if not tried:
        return
    st.markdown("**Calibration**: smaller is better")
    rows = [
        {
            "Part and method": name + (" (chosen)" if chosen else ""),
            "Negative log likelihood": f"{entry.nll:.4f}",
            "Expected calibration error": f"{entry.ece:.4f}",
            "Brier score": "" if entry.brier is None else f"{entry.brier:.4f}",
        }
        for name, entry, chosen in tried
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    if report.unit:
        st.caption(f"Of one probability for each {report.unit}.")


def _table(measures: Iterable[Measure]) -> None:
    frame = _frame(measures)
    if frame.empty:
        st.caption("The card states no performance.")
    else:
        frame = frame[[name for name in frame.columns if frame[name].astype(str).str.len().any()]]
        st.table(frame, border="horizontal", hide_index=True)


def _frame(measures: Iterable[Measure]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Measure": measure.metric,
                "Class": readable(measure.subject),
                "Subgroup": readable(measure.subgroup),
                "Value": words.value(measure),
                "95 % interval": words.interval(measure),
                "n": measure.n,
                "Part": measure.split,
                "Note": measure.note,
            }
            for measure in measures
        ]
    )


def _main(measures: Sequence[Measure]) -> str:
    names = list(dict.fromkeys(measure.metric for measure in measures))
    return next((name for name in _MAIN if name in names), names[0] if names else "")


def _chance(metric: str) -> float | None:
    return 0.5 if "AUROC" in metric else None


def _row(measure: Measure, label: str) -> Row:
    return Row(label, measure.value, measure.low, measure.high, measure.n)
