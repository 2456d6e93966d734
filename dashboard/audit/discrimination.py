"""The figures of every class and their averages, each with n and a 95 % interval from drawing patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.basis import Basis, basis
from dashboard.audit.bootstrap import FIGURES, REPLICATES, Draws, draws, figures, presort
from dashboard.audit.calibration import chance_error
from dashboard.audit.intervals import FEW, Estimate, estimated, people, too_few
from dashboard.audit.table import AuditTable, Mask

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
    every = range(len(table.classes))
    values = [_values(table, k, drawn) for k in every]
    bases = [
        basis(table.groups, table.known[:, k], table.positive[:, k], table.decided[:, k], table.unit) for k in every
    ]
    chances = [chance_error(table.scores[table.known[:, k], k]) for k in every]
    enough = [k for k in every if bases[k].limit("auroc")[0] >= FEW]
    return Discrimination(
        tuple(_class(table, k, values[k], bases[k], chances[k]) for k in every),
        _averages(table, values, bases, chances, enough, drawn),
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


def _class(table: AuditTable, k: int, values: NDArray[np.float64], rests: Basis, chance: float) -> ClassFigures:
    found = {
        name: rests.scarce(name) or estimated(name, row, rests.n(name), rests.limit(name)[0], chance=chance)
        for name, row in zip(FIGURES, values, strict=True)
    }
    return ClassFigures(
        table.classes[k],
        rests.cases["all"],
        rests.cases["positive"],
        rests.patients["all"],
        table.thresholds[k],
        {name: found[name] for name in TITLES},
    )


def _averages(
    table: AuditTable,
    values: list[NDArray[np.float64]],
    bases: list[Basis],
    chances: list[float],
    enough: list[int],
    drawn: Draws,
) -> dict[str, dict[str, Estimate]]:
    if not enough:
        scarcest = _fullest(bases, "auroc")
        return {kind: dict.fromkeys(TITLES, scarcest) for kind in AVERAGES}
    found: dict[str, dict[str, Estimate]] = {"macro": {}, "weighted": {}}
    share = table.positive.sum(0).astype(np.float64)
    for name in TITLES:
        held = [k for k in enough if bases[k].scarce(name) is None]
        if not held:
            found["macro"][name] = found["weighted"][name] = _fullest([bases[k] for k in enough], name)
            continue
        rows = np.stack([values[k][FIGURES.index(name)] for k in held])
        note = f"{len(held)} of {len(table.classes)} classes"
        # How the classes hang together is not known, so the one with the fewest patients stands for the doubt of all.
        fewest = min(bases[k].limit(name)[0] for k in held)
        for kind, weights in (("macro", np.ones(len(held))), ("weighted", share[held])):
            chance = float(np.average([chances[k] for k in held], weights=weights))
            found[kind][name] = estimated(name, _mean(rows, weights), len(table), fewest, note, chance)
    return found | {"micro": _micro(table, enough, drawn)}


def _fullest(bases: list[Basis], name: str) -> Estimate:
    """Why not even the class with the most patients has a figure."""
    return too_few(*max((each.limit(name) for each in bases), default=(0, "cases")))


def _mean(rows: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) weighted mean of (K, R) rows, in each replicate over the classes that have the figure."""
    known = np.isfinite(rows)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights[:, None] * np.where(known, rows, 0)).sum(0) / (weights[:, None] * known).sum(0))


def _micro(table: AuditTable, enough: list[int], drawn: Draws) -> dict[str, Estimate]:
    """n counts pairs of case and class."""
    known: Mask = table.known[:, enough]
    row, _ = np.nonzero(known)
    groups, scores = table.groups[row], table.scores[:, enough][known]
    positive, decided = table.positive[:, enough][known], table.decided[:, enough][known]
    found = figures(presort(groups, positive, scores, decided), drawn)
    rests, chance = basis(groups, known[known], positive, decided, table.unit), chance_error(scores)
    note = f"{len(enough)} of {len(table.classes)} classes"
    return {name: estimated(name, found[name], rests.n(name), rests.limit(name)[0], note, chance) for name in TITLES}


def _accuracy(table: AuditTable, drawn: Draws) -> Estimate:
    known: Mask = np.all(table.known, axis=1)
    patients = people(table.groups, known)
    if patients < FEW:
        return too_few(patients, table.unit)
    right: Mask = known & np.any(table.decided & table.positive, axis=1)
    hits, among = (
        np.bincount(table.groups, part, minlength=len(drawn)) @ drawn.astype(np.float64) for part in (right, known)
    )
    share = np.divide(hits, among, out=np.full_like(hits, np.nan), where=among > 0)
    return estimated("accuracy", share, int(known.sum()), patients)
