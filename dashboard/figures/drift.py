"""Mean maps of two groups side by side, and their difference."""

from __future__ import annotations

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.figures.style import SERIES, Figure, palette, quiet
from dashboard.hunting.drift_result import SCALE, Comparison


def mean_maps(one: Comparison, cells: int, dark: bool = False) -> Figure:
    """Of the group, of the others, and the first less the second; each over the whole picture, its top at the top.

    Args:
        cells: of a mean map along each side.
    """
    colours = palette(dark)
    first, second = (np.asarray(values, float).reshape(cells, cells) / SCALE * 100 for values in (one.group_map, one.others_map))  # fmt: skip
    gap = first - second
    top, reach = float(max(first.max(), second.max())), float(np.abs(gap).max()) or 1.0
    titles = [f"{one.group}  (n = {one.n})", f"others  (n = {one.others})", "difference"]
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    diverging = [[0, SERIES[0]], [0.5, colours.ground], [1, SERIES[5]]]
    kinds = (
        (first, "Cividis", 0.0, top, None),
        (second, "Cividis", 0.0, top, 0.64),
        (gap, diverging, -reach, reach, 1.0),
    )
    for column, (values, scale, low, high, bar) in enumerate(kinds, start=1):
        figure.add_trace(
            go.Heatmap(
                z=values,
                zmin=low,
                zmax=high,
                colorscale=scale,
                showscale=bar is not None,
                colorbar={"thickness": 10, "x": bar, "title": {"text": "% of map", "font": {"size": 12}}},
                hovertemplate="%{z:.2f} % of the map<extra></extra>",
            ),
            row=1,
            col=column,
        )
    quiet(figure, colours, 330)
    for column in (1, 2, 3):
        axis = "x" if column == 1 else f"x{column}"
        figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, constrain="domain", row=1, col=column)
        figure.update_yaxes(
            showticklabels=False, ticks="", showgrid=False, autorange="reversed", scaleanchor=axis, constrain="domain", row=1,
            col=column,
        )  # fmt: skip
    return figure
