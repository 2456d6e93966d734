"""Two tables side by side: both values, their difference, and where the two disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.audit.comparison import ClassComparison
from dashboard.audit.intervals import Estimate
from dashboard.figures.style import SERIES, Figure, explorable, palette
from dashboard.figures.subgroups import add_points, by_line

_APART = 0.16  # of a line, between the two tables


def values_and_differences(
    classes: Sequence[ClassComparison], labels: Sequence[str], figure: str, title: str, titles: tuple[str, str],
    dark: bool = False,
) -> Figure:  # fmt: skip
    """Both values at the left, the second less the first at the right; a click returns the class's own name.

    Args:
        labels: of the classes, for people.
        figure: its name among the classes' figures; ``title`` for people.
        titles: of the two tables.
    """
    colours = palette(dark)
    drawn = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[title, "Second less first, same cases"],
    )  # fmt: skip
    keys = [one.name for one in classes]
    pairs = [one.figures[figure] for one in classes]
    words = [f"{one.n:,} cases, {one.positives:,} positive" for one in classes]
    sides = (("first", SERIES[0], "circle", -_APART), ("second", SERIES[1], "diamond", _APART))
    for number, (side, colour, symbol, shift) in enumerate(sides):
        estimates: list[Estimate] = [getattr(pair, side) for pair in pairs]
        heights = [place + shift for place in range(len(pairs))]
        add_points(drawn, estimates, keys, words, 1, colour, symbol, colours, heights, titles[number])
    gaps = [pair.difference.estimate for pair in pairs]
    tests = [
        f"{text}<br>{_tested(pair.difference.p, pair.difference.adjusted)}"
        for text, pair in zip(words, pairs, strict=True)
    ]
    add_points(drawn, gaps, keys, tests, 2, colours.accent, "circle", colours)
    drawn.add_vline(x=0, line={"color": colours.quiet, "dash": "dash", "width": 1.5}, col=2)
    by_line(drawn, labels, colours)
    drawn.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.08, "yanchor": "top", "x": 0})
    drawn.update_layout(height=drawn.layout.height + 40)
    return drawn


def agreement(
    counts: NDArray[np.int64], positives: NDArray[np.int64], titles: tuple[str, str], dark: bool = False
) -> Figure:
    """How many cases are in each tenth of the scores of either table; a click returns the number of the cell.

    Args:
        counts, positives: (10, 10) cases, and positive ones; rows by the first table, columns by the second.
            Cell ``10 * row + column``.
    """
    colours = palette(dark)
    filled = [(int(row), int(column)) for row, column in np.argwhere(counts > 0)]
    sizes = [float(np.sqrt(counts[place] / counts.max())) for place in filled]
    figure = Figure(
        go.Scatter(
            x=[column + 1 for _, column in filled],
            y=[row + 1 for row, _ in filled],
            mode="markers",
            marker={
                "symbol": "square",
                "opacity": 1,
                "size": [6 + 26 * size for size in sizes],
                "color": [positives[place] / counts[place] for place in filled],
                "colorscale": [[0, colours.quiet], [1, SERIES[1]]],
                "cmin": 0,
                "colorbar": {"title": {"text": "positive", "font": {"size": 13}}, "tickformat": ".0%", "thickness": 10},
                "line": {"width": 0},
            },
            customdata=[[10 * row + column, int(counts[row, column]), int(positives[row, column])] for row, column in filled],
            hovertemplate="first table: tenth %{y}<br>second table: tenth %{x}<br>%{customdata[1]:,} cases, "
            "%{customdata[2]:,} positive<extra></extra>",
            unselected={"marker": {"opacity": 1}},
        )
    )  # fmt: skip
    explorable(figure, colours, 430)
    ticks = {"tickvals": list(range(1, 11)), "range": [0.4, 10.6]}
    figure.update_xaxes(title=f"Tenth of the scores: {titles[1]}", **ticks)
    figure.update_yaxes(title=f"Tenth of the scores: {titles[0]}", **ticks)
    return figure


def _tested(p: float | None, adjusted: float | None) -> str:
    if p is None:
        return "no test"
    return f"p = {p:.2g}" + ("" if adjusted is None else f", adjusted {adjusted:.2g}")
