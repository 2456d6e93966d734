"""How many cases and patients a figure of one class rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.audit.intervals import FEW, Estimate, people, scarcer, too_few
from dashboard.audit.table import Mask, Rows

_AMONG = {"sensitivity": "positive", "specificity": "negative", "ppv": "called", "npv": "left"} | dict.fromkeys(
    ("auroc", "auprc", "f1", "balanced_accuracy"), "either"
)
_WORDS = {
    "all": "{}",
    "positive": "positive {}",
    "negative": "negative {}",
    "called": "called {}",
    "left": "{} not called",
}


@dataclass(frozen=True)
class Basis:
    """Counts of those with a known label.

    Attributes:
        cases, patients: that are "all", "positive", "negative", "called" and "left" (not called).
        unit: "patients", or "cases" where patients are unknown and each case counts as one.
    """

    cases: Mapping[str, int]
    patients: Mapping[str, int]
    unit: str

    def n(self, figure: str) -> int:
        """Cases behind a figure, by its name in code; what is not a share of some rests on all."""
        among = _AMONG.get(figure, "all")
        return self.cases["all" if among == "either" else among]

    def limit(self, figure: str) -> tuple[int, str]:
        """The patients that limit a figure, and what to call them: "positive patients"."""
        among = _AMONG.get(figure, "all")
        if among == "either":
            return scarcer(self.patients["positive"], self.patients["negative"], self.unit)
        return self.patients[among], _WORDS[among].format(self.unit)

    def scarce(self, figure: str) -> Estimate | None:
        """Why a figure is not estimated; None where it is."""
        fewer, words = self.limit(figure)
        return too_few(fewer, words) if fewer < FEW else None


def basis(groups: Rows, known: Mask, positive: Mask, called: Mask, unit: str) -> Basis:
    """Of cases, or of pairs of case and class; ``groups`` are (n,) numbers of patients, masks (n,)."""
    masks = {
        "all": known, "positive": positive, "negative": known & ~positive, "called": known & called,
        "left": known & ~called,
    }  # fmt: skip
    cases = {name: int(mask.sum()) for name, mask in masks.items()}
    return Basis(cases, {name: people(groups, mask) for name, mask in masks.items()}, unit)
