"""Sections of a report with one small figure a class: calibration, ROC, precision and recall, net benefit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dashboard.audit.bootstrap import Draws
from dashboard.audit.calibration import bins, outcomes
from dashboard.audit.decision import decision_curve
from dashboard.audit.imbalance import prevalence
from dashboard.audit.operating import curves
from dashboard.audit.table import AuditTable
from dashboard.audit.thresholds import called, rates
from dashboard.cases import readable
from dashboard.figures.imbalance import prevalence_chart
from dashboard.figures.operating import Mark, decision, precision_recall, roc
from dashboard.figures.reliability import reliability
from dashboard.reports.section import Drawn, Section, drawn, shown_classes

_HEIGHT = 320
_RARE = 0.05  # prevalence below which shares are told apart on a logarithmic axis only
_MARKS = 50  # about half the thresholds of a curve: the page has to stay small
_REACH = 4  # decision curves end at this many times the prevalence


def prevalence_section(table: AuditTable) -> Section:
    """How common each class is, and what that makes of figures that depend on it."""
    found = prevalence(table)
    seen = found["prevalence"][found["positives"] > 0]
    log = bool((seen < _RARE).any())
    ratio = "Of the largest class a case" if table.exclusive else "Negatives a positive"
    rows = [
        {
            "Part": row["split"],
            "Class": readable(row["class"]),
            "Cases": f"{row['images']:,}",
            "Positive": f"{row['positives']:,}",
            "Patients": f"{row['patients']:,}",
            "Positive patients": f"{row['positive_patients']:,}",
            "Prevalence": f"{row['prevalence']:.2%} ({row['low']:.2%} to {row['high']:.2%})" if row["images"] else "",
            ratio: f"{row['imbalance_ratio']:.1f}" if row["positives"] else "",
        }
        for row in found.to_dict("records")
    ]
    text = "Wilson's intervals, which take cases as independent. AUPRC, PPV and NPV depend on the prevalence."
    return Section("Prevalence", (text,), (drawn(prevalence_chart(found, log)),), (pd.DataFrame(rows),))


def calibration_section(table: AuditTable) -> Section:
    """A reliability diagram of each class."""
    chosen, left = shown_classes(table)

    def figures() -> Iterator[Drawn]:
        for k in chosen:
            found = outcomes(table, k)
            if len(found):
                name = readable(table.classes[k])
                yield drawn(reliability({"as given": bins(found)}, f"{name} present"), name, _HEIGHT + 40)

    text = (
        "Mean score of each of 15 bins against the share that came true, with Wilson's interval; below, the cases of "
        "each bin. On the broken line scores are calibrated."
    )
    return Section("Calibration", (text, *left), tuple(figures()), small=True)


def operating_sections(table: AuditTable, draws: Draws) -> tuple[Section, ...]:
    """ROC curves, precision and recall, and decision curves, of the classes with cases of both kinds.

    Args:
        draws: (P, R) of :func:`dashboard.audit.bootstrap.draws`.
    """
    chosen, left = shown_classes(table)
    one_sided = [k for k in chosen if not table.positive[:, k].any() or not table.negative[:, k].any()]
    rocs, precisions, decisions = [], [], []
    for k in (k for k in chosen if k not in one_sided):
        found, calls = curves(table, k, draws, _MARKS), called(table, k, table.thresholds[k])
        swept, name = found.swept, readable(table.classes[k])
        n = (swept.positives, swept.negatives)
        at = rates(len(calls.true_positive), len(calls.false_positive), *n)
        words = f"threshold {table.thresholds[k]:.4g}"
        sensitivity = float(at.sensitivity)
        # With exclusive classes the decided class does not follow from one threshold.
        here = None if table.exclusive else Mark(1 - float(at.specificity), sensitivity, words)
        there = None if table.exclusive else Mark(sensitivity, float(at.ppv), words)
        rocs.append(drawn(roc(found.fpr, found.roc, found.threshold, here, n), name, _HEIGHT))
        precisions.append(drawn(precision_recall(found.recall, found.pr, found.threshold, there, n), name, _HEIGHT))
        top = min(0.99, _REACH * n[0] / sum(n))
        curve = decision_curve(table, k, draws, np.linspace(0, top, 101)[1:])
        decisions.append(drawn(decision(curve, table.thresholds[k]), name, _HEIGHT + 30))
    if one_sided:
        names = ", ".join(readable(table.classes[k]) for k in one_sided)
        left = (*left, f"Not drawn, since all known labels are of one kind: {names}.")
    band = f"Bands are 95 % from resampled {table.unit}"
    ring = "" if table.exclusive else "; the ring is the operating point"
    benefit = (
        "Net benefit: cases rightly acted on, less those wrongly, weighed by the odds of the probability from which one "
        "would act (Vickers & Elkin 2006). It asks for calibrated scores."
    )
    return (
        Section("ROC curves", (f"{band}{ring}.", *left), tuple(rocs), small=True),
        Section(
            "Precision and recall", (f"{band}{ring}; the broken line is the prevalence.", *left), tuple(precisions), small=True
        ),
        Section("Decision curves", (f"{benefit} {band}.", *left), tuple(decisions), small=True),
    )  # fmt: skip
