"""The comparison of two tables as a file and as a section of the report."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dashboard.audit.comparison import LOWER, TITLES, ClassComparison, Matched, Paired
from dashboard.cases import readable
from dashboard.figures.paired import values_and_differences
from dashboard.reports.section import Section, drawn


def comparison_table(found: Sequence[ClassComparison]) -> pd.DataFrame:
    """One row a class and figure: both values, the second less the first, each with its interval, and the tests."""
    return pd.DataFrame([_line(one, figure, pair) for one in found for figure, pair in one.figures.items()])


def _line(one: ClassComparison, figure: str, pair: Paired) -> dict[str, object]:
    gap = pair.difference
    line: dict[str, object] = {"class": one.name, "figure": figure, "n": pair.first.n, "n_positive": one.positives}
    for name, estimate in (("first", pair.first), ("second", pair.second), ("difference", gap.estimate)):
        line |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    line |= {"p": gap.p, "p_holm": gap.adjusted, "note": pair.first.note}
    if pair.delong is not None:
        line |= {"delong_low": pair.delong.low, "delong_high": pair.delong.high, "delong_p": pair.test}
    if pair.discordant is not None:
        only_first, only_second = pair.discordant
        line |= {"only_first_right": only_first, "only_second_right": only_second, "mcnemar_p": pair.test}
    return line


def comparison_section(both: Matched, found: Sequence[ClassComparison], replicates: int) -> Section:
    """Differences in AUROC as a figure, all of them as a table."""
    names = [readable(one.name) for one in found]
    figure = values_and_differences(found, names, "auroc", TITLES["auroc"], both.titles)
    rows = [
        {
            "Class": name,
            "Figure": title + (" (lower is better)" if key in LOWER else ""),
            "First": one.figures[key].first.text,
            "Second": one.figures[key].second.text,
            "Second less first": one.figures[key].difference.estimate.text,
            "p, Holm": _p(one.figures[key].difference.adjusted),
        }
        for name, one in zip(names, found, strict=True)
        for key, title in TITLES.items()
    ]
    return Section(
        f"Against {both.titles[1]}", (_said(both), _how(both, replicates)), (drawn(figure),), (pd.DataFrame(rows),)
    )


def _said(both: Matched) -> str:
    first, second = both.titles
    return (
        f"First: {first}. Second: {second}. {len(both):,} cases are in both; {both.alone[0]:,} only in the first and "
        f"{both.alone[1]:,} only in the second are left out, so are {both.differing:,} labels that differ and "
        f"{both.half_known:,} that only one table knows."
    )


def _how(both: Matched, replicates: int) -> str:
    return (
        f"Differences on the same cases, from {replicates:,} bootstrap replicates of whole {both.unit}, the same draws for "
        "both tables; p adjusted after Holm over the classes. comparison.csv holds DeLong's and McNemar's tests, which "
        "take cases as independent."
    )


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"
