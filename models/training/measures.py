"""Every figure of an evaluation table with its 95 % interval: overall, by class and by subgroup."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.card import Measure, ModelCard
from models.training import resample as r
from models.training.masks import FIGURES
from models.training.tables import Wide, decided, subgroups, widen
from models.types import favoured

FEW = 10  # positives, or negatives, below which a class is not estimated
ENOUGH = 20  # positives with which a class enters a macro average
SPECIFICITY = 0.90
MASK_NAMES = dict(
    zip(
        FIGURES,
        (
            "Dice at 0.5",
            "mean Dice over 256 thresholds",
            "mean Dice over 256 thresholds, uncalibrated",
            "pixel sensitivity",
            "pixel specificity",
            "mean absolute error",
            "true share of the image",
            "found share of the image",
        ),
        strict=True,
    )
)


class Measurer:
    """Figures of one table; every one of them from the same 1,000 draws of whole groups."""

    def __init__(self, card: ModelCard, table: pd.DataFrame, split: str) -> None:
        self.card, self.split = card, split
        self.wide: Wide = widen(table, card.classes)
        self.table = table
        self.labels, self.scores = self.wide.labels, self.wide.scores
        self.decided = decided(card, self.scores)
        # A steep calibration rounds the highest probabilities to 1, which are told apart before it; where it maps
        # every class alone it keeps their order.
        self.ranks = self.scores if card.exclusive else self.wide.raw
        self.weights = r.resample(self.wide.groups)
        self.every = np.ones(len(self.labels), dtype=bool)

    def all(self, attributes: Iterable[str]) -> list[Measure]:
        """Overall figures, then by class, then by the subgroups of each attribute."""
        found = self.overall(self.every)
        if self.card.task == "segmentation":
            found += [one for k in range(len(self.card.classes)) for one in self._pixels(k)]
        else:
            found += [one for k in range(len(self.card.classes)) for one in self._of_class(k)]
        for attribute in attributes:
            for name, part in subgroups(self.wide.cases, attribute).items():
                found += self.overall(part, name)
        return found

    def overall(self, part: NDArray[np.bool_], subgroup: str = "") -> list[Measure]:
        """The main figures of the cases in ``part``, (n,) bool."""
        task = self.card.task
        if task == "segmentation":
            dice = self.table["dice"].to_numpy(np.float64).reshape(self.labels.shape)
            how = "mean over images; pixels of an uncalibrated probability of at least 0.5"
            # Of the same two masks Jaccard's index follows from Dice's.
            both = {"Dice at 0.5": dice, "Jaccard at 0.5": dice / (2 - dice)}
            return [
                self._measure(
                    name, r.average(self.weights[:, part], own.mean(1)[part]), part.sum(), subgroup=subgroup, note=how
                )
                for name, own in both.items()
            ]
        if task == "binary":
            return self._binary(part, subgroup) if subgroup else []
        least = FEW if subgroup else ENOUGH
        positive, total = self.labels[part].sum(0), int(part.sum())
        kept = np.flatnonzero((positive >= least) & (total - positive >= FEW))
        note = f"{len(kept)} of {len(positive)} classes, those with at least {least} positives"
        scored = [self._auroc(int(k), part) for k in kept]
        found = [self._measure("macro AUROC", self._macro(scored), total, subgroup=subgroup, note=note)]
        if not subgroup:
            precise = [r.average_precision(self.weights, self.labels[:, k], self.ranks[:, k]) for k in kept]
            prevalence = float(self.labels[:, kept].mean()) if len(kept) else np.nan
            mean = f"{note}; mean prevalence {prevalence:.3f}"
            found.append(self._measure("macro AUPRC", self._macro(precise), total, note=mean))
        if task == "multiclass":
            found += self._decisions(part, subgroup, self.decided, "")
            plain = np.eye(self.labels.shape[1], dtype=bool)[favoured(self.scores, np.ones(self.labels.shape[1]))]
            if not subgroup and (plain != self.decided).any():
                found += self._decisions(part, subgroup, plain, ", deciding for the largest probability")
        return found

    def _decisions(
        self, part: NDArray[np.bool_], subgroup: str, decisions: NDArray[np.bool_], how: str
    ) -> list[Measure]:
        right: NDArray[np.bool_] = np.any(decisions & self.labels, axis=1)
        present = [
            k for k in range(self.labels.shape[1]) if (self.labels[:, k] & part).sum() >= (FEW if subgroup else 1)
        ]
        recalls = [r.rate(self.weights, right, self.labels[:, k] & part) for k in present]
        note = f"{len(present)} of {self.labels.shape[1]} classes"
        return [
            self._measure(f"accuracy{how}", r.rate(self.weights, right, part), part.sum(), subgroup=subgroup),
            self._measure(f"balanced accuracy{how}", self._macro(recalls), part.sum(), subgroup=subgroup, note=note),
        ]

    def _binary(self, part: NDArray[np.bool_], subgroup: str) -> list[Measure]:
        truth, marked = self.labels[:, 0], self.decided[:, 0]
        name = self.card.classes[0]
        positive, negative = truth & part, ~truth & part
        few = min(positive.sum(), negative.sum()) < FEW
        area = self._none() if few else self._auroc(0, part)
        note = f"{positive.sum()} positives"
        return [
            self._measure("AUROC", area, part.sum(), name, subgroup, note),
            self._measure("sensitivity", self._rate(marked, positive), positive.sum(), name, subgroup),
            self._measure("specificity", self._rate(~marked, negative), negative.sum(), name, subgroup),
        ]

    def _of_class(self, k: int) -> list[Measure]:
        truth, score, marked, name = self.labels[:, k], self.ranks[:, k], self.decided[:, k], self.card.classes[k]
        positives, total = int(truth.sum()), len(truth)
        few = min(positives, total - positives) < FEW
        area = self._none() if few else self._auroc(k, self.every)
        precise = self._none() if few else r.average_precision(self.weights, truth, score)
        note, prevalence = f"{positives} positives", f"prevalence {positives / total:.3f}"
        at = f"at {'the decision for one class' if self.card.exclusive else 'the operating point'}"
        found = [
            self._measure("AUROC", area, total, name, note=note),
            self._measure("AUPRC", precise, total, name, note=prevalence),
            self._measure("sensitivity", self._rate(marked, truth), positives, name, note=at),
            self._measure("specificity", self._rate(~marked, ~truth), total - positives, name, note=at),
            self._measure("PPV", self._rate(truth, marked), marked.sum(), name, note=f"{at}, {prevalence}"),
            self._measure("NPV", self._rate(~truth, ~marked), (~marked).sum(), name, note=f"{at}, {prevalence}"),
        ]
        if self.card.task == "binary":
            best = self._none() if few else r.sensitivity_at(self.weights, truth, score, SPECIFICITY)
            said = "the threshold is read off the test part, for comparison with other work"
            found.append(
                self._measure(f"sensitivity at specificity {SPECIFICITY:.2f}", best, positives, name, note=said)
            )
        return found

    def _pixels(self, k: int) -> list[Measure]:
        own = self.table.iloc[k :: len(self.card.classes)]
        found = []
        for column, title in MASK_NAMES.items():
            values = own[column].to_numpy(np.float64)
            known = int(np.isfinite(values).sum())
            found.append(
                self._measure(
                    title, r.average(self.weights, values), known, self.card.classes[k], note="mean over images"
                )
            )
        return found

    def _auroc(self, k: int, part: NDArray[np.bool_]) -> r.Figures:
        return r.auroc(self.weights[:, part], self.labels[part, k], self.ranks[part, k])

    def _rate(self, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> r.Figures:
        return self._none() if among.sum() < FEW else r.rate(self.weights, hits, among)

    def _macro(self, figures: list[r.Figures]) -> r.Figures:
        """Mean over the classes that a replicate drew."""
        if not figures:
            return self._none()
        known = np.isfinite(figures)
        return np.asarray(np.where(known, figures, 0).sum(0) / np.maximum(known.sum(0), 1))

    def _none(self) -> r.Figures:
        return np.full(len(self.weights), np.nan)

    def _measure(
        self, metric: str, figures: r.Figures, n: Any, subject: str = "", subgroup: str = "", note: str = ""
    ) -> Measure:
        value, low, high = r.interval(figures) if n >= FEW else (None, None, None)
        if value is None:
            note = f"too few (n = {n}{', ' + note if note else ''})"
        return Measure(
            metric=metric,
            subject=subject,
            subgroup=subgroup,
            value=value,
            low=low,
            high=high,
            n=int(n),
            split=self.split,
            note=note,
        )


def measures(
    card: ModelCard, table: pd.DataFrame, attributes: Iterable[str] = (), split: str = "test"
) -> list[Measure]:
    """All figures of a table, see :class:`Measurer`. Raises DataError for a table that does not fit the card."""
    return Measurer(card, table, split).all(attributes)


def confusion(card: ModelCard, table: pd.DataFrame) -> dict[str, Any] | None:
    """Counts of cases, rows the truth, columns the decision; None where several classes may hold together."""
    if card.task not in ("multiclass", "binary"):
        return None
    wide = widen(table, card.classes)
    marked, labels, names = decided(card, wide.scores), wide.labels, list(card.classes)
    if card.task == "binary":
        marked, labels = (np.concatenate([~part, part], axis=1) for part in (marked, labels))
        names = [f"not {names[0]}", *names]
    return {"classes": names, "matrix": (labels.astype(int).T @ marked.astype(int)).tolist()}


def decisions(card: ModelCard, table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """The four counts of every class at the card's operating points."""
    wide = widen(table, card.classes)
    return {
        name: {
            "true positive": int((true & found).sum()),
            "false positive": int((~true & found).sum()),
            "false negative": int((true & ~found).sum()),
            "true negative": int((~true & ~found).sum()),
        }
        for name, true, found in zip(card.classes, wide.labels.T, decided(card, wide.scores).T, strict=True)
    }
