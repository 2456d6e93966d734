"""The figures of every class and their averages, each with n and a 95 % interval from drawing patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.bootstrap import FIGURES, REPLICATES, Draws, draws, figures, presort
from dashboard.audit.intervals import FEW, Estimate, percentile, too_few, wilson
from dashboard.audit.table import AuditTable, Mask

# What a figure is a share of, and so which cases it needs enough of.
_AMONG = {"sensitivity": "positive", "specificity": "negative", "ppv": "called", "npv": "left"}
RANKED = ("auroc", "auprc")  # need both positives and negatives
TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}
AVERAGES = {
    "macro": "mean of the classes",
    "weighted": "mean of the classes by their positives",
    "micro": "all pairs of case and class together",
}


@dataclass(frozen=True)
class ClassFigures:
    """One class.

    Attributes:
        n, positives, patients: cases with a known label, positive ones, and the patients of the former.
        figures: by the names of :data:`TITLES`.
    """

    name: str
    n: int
    positives: int
    patients: int
    threshold: float
    figures: Mapping[str, Estimate]

    @property
    def prevalence(self) -> float:
        return self.positives / self.n if self.n else np.nan

    @property
    def lift(self) -> float | None:
        """AUPRC as a multiple of what a guess reaches, the prevalence."""
        value = self.figures["auprc"].value
        return None if value is None or not self.positives else value / self.prevalence


@dataclass(frozen=True)
class Discrimination:
    """The figures of a table.

    Attributes:
        averages: "macro", "weighted" and "micro", each by the names of :data:`TITLES`.
        averaged: classes that enter the averages: those with enough positives and negatives.
        accuracy: share of cases whose class is decided rightly; None unless classes are exclusive.
        replicates: bootstrap replicates behind the intervals; 0 where there are none yet.
        seed: of the draws.
    """

    classes: tuple[ClassFigures, ...]
    averages: Mapping[str, Mapping[str, Estimate]]
    averaged: tuple[str, ...]
    accuracy: Estimate | None
    replicates: int
    seed: int

    @property
    def worst(self) -> ClassFigures | None:
        """The class with the smallest AUROC."""
        known = [one for one in self.classes if one.figures["auroc"].value is not None]
        return min(known, key=lambda one: one.figures["auroc"].value or 0.0, default=None)


def discrimination(table: AuditTable, replicates: int = REPLICATES, seed: int = 0) -> Discrimination:
    """All figures; with ``replicates`` = 0 the values alone, at once."""
    drawn = np.concatenate(
        [np.ones((table.patients, 1), dtype=np.uint8), draws(table.groups, replicates, seed)], axis=1
    )
    values = np.stack([_values(table, k, drawn) for k in range(len(table.classes))]) if table.classes else None
    classes = tuple(_class(table, k, values[k]) for k in range(len(table.classes))) if values is not None else ()
    enough = [k for k, one in enumerate(classes) if FEW <= one.positives <= one.n - FEW]
    return Discrimination(
        classes,
        _averages(table, values, enough, drawn) if values is not None else {},
        tuple(table.classes[k] for k in enough),
        _accuracy(table, drawn) if table.exclusive else None,
        replicates,
        seed,
    )


def _values(table: AuditTable, k: int, drawn: Draws) -> NDArray[np.float64]:
    """(F, 1 + R) figures of one class."""
    known = table.known[:, k]
    case = presort(table.groups[known], table.positive[known, k], table.scores[known, k], table.decided[known, k])
    found = figures(case, drawn)
    return np.stack([found[name] for name in FIGURES])


def _class(table: AuditTable, k: int, values: NDArray[np.float64]) -> ClassFigures:
    known, called = table.known[:, k], table.decided[:, k]
    n, positives = int(known.sum()), int(table.positive[:, k].sum())
    among = {
        "positive": positives,
        "negative": n - positives,
        "called": int((known & called).sum()),
        "left": int((known & ~called).sum()),
    }
    found = {}
    for name, row in zip(FIGURES, values, strict=True):
        count = among[_AMONG[name]] if name in _AMONG else n
        needed = min(positives, n - positives) if name in (*RANKED, "f1", "balanced_accuracy") else count
        found[name] = too_few(needed) if needed < FEW else _estimate(name, row, count)
    return ClassFigures(
        table.classes[k],
        n,
        positives,
        len(np.unique(table.groups[known])),
        table.thresholds[k],
        {name: found[name] for name in TITLES},
    )


def _estimate(name: str, row: NDArray[np.float64], n: int, note: str = "") -> Estimate:
    value, replicates = row[0], row[1:]
    if name == "ece" and len(replicates):
        # A resampled table is noisier, which looks like miscalibration: without this the value lies outside.
        replicates = np.maximum(replicates - np.nanmean(replicates) + value, 0.0)
    if name in _AMONG and len(replicates) and value in (0.0, 1.0):
        # No resample of cases that all went one way shows doubt; the score interval does.
        low, high = wilson(value * n, n)
        return Estimate(float(value), float(low), float(high), n, "Wilson interval: all cases went one way")
    return percentile(float(value), replicates, n, note)


def _averages(
    table: AuditTable, values: NDArray[np.float64], enough: list[int], drawn: Draws
) -> dict[str, dict[str, Estimate]]:
    n = len(table)
    if not enough:
        return {kind: {name: too_few(0) for name in TITLES} for kind in AVERAGES}
    chosen = values[enough]
    share = table.positive[:, enough].sum(0).astype(np.float64)
    known = np.isfinite(chosen)
    filled = np.where(known, chosen, 0.0)
    with np.errstate(invalid="ignore"):
        macro = filled.sum(0) / known.sum(0)
        weighted = np.einsum("k,kfr->fr", share, filled) / np.einsum("k,kfr->fr", share, known.astype(np.float64))
    micro = _micro(table, enough, drawn)
    note = f"{len(enough)} of {len(table.classes)} classes"
    return {
        kind: {name: _estimate(name, rows[FIGURES.index(name)], n, note) for name in TITLES}
        for kind, rows in (("macro", macro), ("weighted", weighted), ("micro", micro))
    }


def _micro(table: AuditTable, enough: list[int], drawn: Draws) -> NDArray[np.float64]:
    known: Mask = table.known[:, enough]
    row, _ = np.nonzero(known)
    positive, scores, decided = table.positive[:, enough], table.scores[:, enough], table.decided[:, enough]
    found = figures(presort(table.groups[row], positive[known], scores[known], decided[known]), drawn)
    return np.stack([found[name] for name in FIGURES])


def _accuracy(table: AuditTable, drawn: Draws) -> Estimate:
    known = table.known.all(1)
    if known.sum() < FEW:
        return too_few(int(known.sum()))
    right = known & (table.decided & table.positive).any(1)
    hits, among = (
        np.bincount(table.groups, part, minlength=len(drawn)) @ drawn.astype(np.float64) for part in (right, known)
    )
    return percentile(float(hits[0] / among[0]), hits[1:] / np.maximum(among[1:], 1), int(known.sum()))
