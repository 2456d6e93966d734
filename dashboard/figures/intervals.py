"""Figures with their 95 % intervals, one a line, against the value that chance gives."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from plotly import graph_objects as go

from dashboard.figures.style import Figure, palette, quiet

_LINE = 26  # CSS pixels a row takes


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        value: None where there were too few cases.
        low, high: ends of the 95 % interval; None where there is none.
        n: cases behind it.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    n: int


def forest(
    rows: Sequence[Row],
    axis: str,
    chance: float | None = None,
    dark: bool = False,
    keys: Sequence[Hashable] | None = None,
) -> Figure:
    """A dot and a line for each row, in the order given from top to bottom.

    Args:
        axis: name of the measure.
        chance: drawn as a broken line.
        keys: what a click on each row returns (``customdata[0]``).
    """
    colours = palette(dark)
    labels = [f"{row.label}  (n = {row.n:,})" for row in rows]
    names = [row.label for row in rows] if keys is None else list(keys)
    known = [(label, row) for label, row in zip(labels, rows, strict=True) if row.value is not None]
    figure = Figure(
        go.Scatter(
            x=[row.value for _, row in known],
            y=[label for label, _ in known],
            mode="markers",
            marker={"color": colours.accent, "size": 9},
            unselected={"marker": {"opacity": 1}},  # a click opens cases; the others count as much as before
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_reach(row.high, row.value) for _, row in known],
                "arrayminus": [_reach(row.value, row.low) for _, row in known],
                "color": colours.accent,
                "thickness": 2,
                "width": 4,
            },
            customdata=[[key, _interval(row)] for key, row in zip(names, rows, strict=True) if row.value is not None],
            hovertemplate="%{y}<br>%{x:.3f}%{customdata[1]}<extra></extra>",
        )
    )
    ends = [end for _, row in known for end in (row.value, row.low, row.high) if end is not None]
    ends += [] if chance is None else [chance]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.04
    for label, row in zip(labels, rows, strict=True):
        if row.value is None:
            figure.add_annotation(x=0.5, xref="paper", y=label, text=f"too few (n = {row.n:,})", showarrow=False)
    if chance is not None:
        figure.add_vline(x=chance, line={"color": colours.quiet, "dash": "dash", "width": 1.5})
        figure.add_annotation(x=chance, y=1, yref="paper", yanchor="bottom", text="chance", showarrow=False)
    figure = quiet(figure, colours, 90 + _LINE * len(rows))
    figure.update_xaxes(title=axis, range=[low - room, high + room])
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=labels,
        autorange="reversed",
        color=colours.text,
        type="category",
    )
    return figure


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else max(0.0, high - low)


def _interval(row: Row) -> str:
    return "" if row.low is None or row.high is None else f" ({row.low:.3f} to {row.high:.3f})"
