"""What is known of a model's explanations, as tables for people: places found, checks passed."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dashboard.hunting.evidence import TOGETHER, Evidence
from explainers.quality._bootstrap import Estimate
from explainers.quality.localisation import Localised
from explainers.quality.method_benchmark import GroundTruthSet
from explainers.quality.randomisation import RandomisationResult
from explainers.quality.strip import checks

HARDLY = 0.05  # margin over the controls
_MEASURES = {
    "pointing": "Strongest pixel in it",
    "iou_otsu": "Overlap, Otsu's threshold",
    "iou_tuned": "Overlap, tuned threshold",
    "energy": "Share in it",
    "auprc": "Precision and recall",
}


def best_words(found: GroundTruthSet, randomised: Mapping[str, RandomisationResult]) -> str:
    """The method that finds the place best, with its interval and whom it is not told apart from; or that none does for sure.

    Methods that fail with random weights do not count.
    """
    sure = [
        row
        for name, row in found.methods.items()
        if row.result.everything.level == "ok" and not (name in randomised and randomised[name].level == "fails")
    ]
    if not sure:
        return f"**{found.name}**: no method marks the place better than its controls for sure."
    first, *others = sorted(sure, key=lambda row: -(row.result.everything.measures["auprc"].mean or 0.0))
    own = first.result.everything
    alike = [
        row.title
        for row in others
        if (row.result.everything.measures["auprc"].high or 0.0) >= (own.measures["auprc"].low or 0.0)
    ]
    hardly = "hardly " if (own.margin.mean or 0.0) < HARDLY else ""
    return (
        f"**{found.name}**: of the methods above their controls for sure, {first.title} has the most for precision and recall, "
        f"{own.measures['auprc'].words}, {own.margin.words} {hardly}above its controls"
        + (f"; its interval overlaps with that of {', '.join(alike)}." if alike else ".")
    )


def place_table(found: GroundTruthSet, part: str, randomised: Mapping[str, RandomisationResult]) -> pd.DataFrame:
    """One line a method, the best first, and the controls."""
    rows = []
    order = sorted(found.methods.values(), key=lambda row: -(getattr(row.result, part).measures["auprc"].mean or 0.0))
    for row in order:
        result: Localised = getattr(row.result, part)
        line = {"Method": row.title, "Verdict": result.level}
        line |= {title: _words(result.measures, name) for name, title in _MEASURES.items()}
        line["Margin"] = result.margin.words
        tested = randomised.get(row.method)
        line["Random weights"] = tested.level if tested else "not run"
        line["Seconds a map"] = f"{row.seconds:.2f}"
        rows.append(line)
    if order:
        first: Localised = getattr(order[0].result, part)
        control = {title: _words(first.blob, name) for name, title in _MEASURES.items()}
        rows.append({"Method": "Control: blob in the middle"} | control)
        rows.append({"Method": "Control: by chance", _MEASURES["auprc"]: first.measures["base"].words})
    return pd.DataFrame(rows).fillna("")


def _words(measures: Mapping[str, Estimate], name: str) -> str:
    return measures[name].words if name in measures else ""


def check_table(found: Evidence) -> pd.DataFrame:
    """One line a method, one column a check: "18 of 24"."""
    titles = {check.spec.id: check.spec.title for check in checks()} | {TOGETHER: "All together"}
    rows = []
    for one in found.methods.values():
        line = {"Method": one.title}
        for name, title in titles.items():
            counts = one.checks[name]
            line[title] = f"{counts.levels['ok']} of {counts.assessed}" if counts.assessed else "–"
        rows.append(line)
    return pd.DataFrame(rows)


def number_table(found: Evidence) -> pd.DataFrame:
    """One line a method and check, with all counts, the share passed and the mean number."""
    titles = {check.spec.id: check.spec for check in checks()}
    rows = []
    for one in found.methods.values():
        for name, counts in one.checks.items():
            spec = titles.get(name)
            line: dict[str, object] = {"Method": one.title, "Check": spec.title if spec else "All together"}
            line |= {level.capitalize(): counts.levels[level] for level in counts.levels}
            line["Share at ok"] = counts.passed.text
            line["Mean number"] = counts.value.text if spec else ""
            line["Number"] = spec.measure if spec else ""
            rows.append(line)
    return pd.DataFrame(rows)
