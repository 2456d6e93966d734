"""Sections of a report on pairs of findings: which are taken for which, and which come together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.confusion import Shares, confused_with, cooccurrence
from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.figures.confusion import Cells, grid
from dashboard.reports.section import Drawn, Section, drawn

_QUARTERS = {-1.0: "1/4", -0.5: "1/2", 0.0: "1", 0.5: "2", 1.0: "4"}
_POINTS = {-1.0: "-50", -0.5: "-25", 0.0: "0", 0.5: "+25", 1.0: "+50"}
_SHARES = {0.0: "0 %", 0.5: "50 %", 1.0: "100 %"}
Values = NDArray[np.float64]


def pair_sections(table: AuditTable) -> tuple[Section, ...]:
    """Of findings that may hold together; none where classes exclude each other or there is one alone."""
    if table.exclusive or len(table.classes) < 2:
        return ()
    return _confused(table), _together(table)


def _confused(table: AuditTable) -> Section:
    found = confused_with(table)
    ratio = found.ratio
    with np.errstate(divide="ignore"):
        strength = np.clip(np.log2(ratio.value) / 2, -1, 1)
    clear = (ratio.low > 1) | (ratio.high < 1)
    figure = _cells(
        table, (table.positive & ~table.decided).sum(0), _coloured(strength, clear), ratio.value, "{:.1f}".format,
        ("Missed", "Called though absent"), ("times chance", _QUARTERS),
    )  # fmt: skip
    text = (
        "Of cases where the finding of the row is missed and that of the column absent, how many are called that of the "
        "column, against the same among cases without the finding of the row (1: no more than by chance). In colour where "
        f"the 95 % interval over {table.unit} leaves out 1; of {int((~np.isnan(ratio.value)).sum())} pairs about one in "
        "twenty does so by luck. Empty: too few missed cases."
    )
    return Section("Called in place of a missed finding", (text,), (figure,))


def _together(table: AuditTable) -> Section:
    found = cooccurrence(table)
    excess = found.excess
    clear = (excess.low > 0) | (excess.high < 0)
    positives, calls = table.positive.sum(0), (table.decided & table.known).sum(0)
    apart = _coloured(np.clip(2 * excess.value, -1, 1), clear)

    def shares(part: Shares, counts: NDArray[np.int64], kind: str) -> Drawn:
        return _cells(
            table, counts, part.value, part.value, "{:.0%}".format, (kind, "Together with"), ("share", _SHARES)
        )

    figures = (
        shares(found.true, positives, "Present"),
        shares(found.called, calls, "Called"),
        _cells(
            table, positives, apart, np.rint(100 * excess.value) + 0.0, "{:+.0f}".format,  # no minus before a zero
            ("Present", "Together with"),
            ("called less present", _POINTS),
        ),
    )  # fmt: skip
    text = (
        "Share of the cases with the finding of the row that also have that of the column: in truth, as called, and called "
        f"less present in percentage points, in colour where its 95 % interval over {table.unit} leaves out 0."
    )
    return Section("Findings that come together", (text,), figures)


def _coloured(strength: Values, clear: NDArray[np.bool_]) -> Values:
    """No colour where the interval leaves the direction open; NaN where there is no value."""
    return np.where(np.isnan(strength), np.nan, np.where(clear, strength, 0.0))


def _cells(
    table: AuditTable,
    counts: NDArray[np.int64],
    shade: Values,
    values: Values,
    written: Callable[[float], str],
    sides: tuple[str, str],
    bar: tuple[str, Mapping[float, str]],
) -> Drawn:
    """One grid, findings by findings; the diagonal stays empty."""
    names = [readable(name) for name in table.classes]
    empty = np.isnan(values) | np.eye(len(names), dtype=bool)

    def each(word: Callable[[int, int], str]) -> Sequence[Sequence[str]]:
        places = range(len(names))
        return [["" if empty[row, column] else word(row, column) for column in places] for row in places]

    cells = Cells(
        [f"{name}  (n = {count:,})" for name, count in zip(names, counts, strict=True)],
        names,
        np.where(empty, np.nan, shade),
        each(lambda row, column: written(float(values[row, column]))),
        each(lambda row, column: f"{names[row]}, {names[column]}: {written(float(values[row, column]))}"),
        *sides,
        *bar,
        middle=min(bar[1]) < 0,
    )
    return drawn(grid(cells))
