"""Maps that are alike lie together: the groups of a shortcut hunt, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboard.figures.style import SERIES, Figure, explorable, palette

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down")
_HEIGHT = 380


def scatter(
    positions: NDArray[np.float64],
    cluster_of: NDArray[np.intp],
    wrong: NDArray[np.bool_],
    names: Sequence[str],
    dark: bool = False,
) -> Figure:
    """One mark a case, coloured and shaped by its cluster, open where the decision was wrong.

    Args:
        positions: (n, 2), without unit.
        cluster_of: (n,) from 0; clusters are called 1, 2, ...
        wrong: (n,).
        names: n case ids.

    Returns:
        A figure whose marks carry the cluster (from 0) as ``customdata[0]``.
    """  # fmt: skip
    colours = palette(dark)
    figure = Figure()
    for place in range(int(cluster_of.max()) + 1):
        members = np.flatnonzero(cluster_of == place)
        symbol, colour = SYMBOLS[place % len(SYMBOLS)], SERIES[place % len(SERIES)]
        figure.add_trace(
            go.Scatter(
                x=positions[members, 0],
                y=positions[members, 1],
                mode="markers",
                name=f"{place + 1}  (n = {len(members)})",
                marker={
                    "symbol": [f"{symbol}-open" if wrong[member] else symbol for member in members.tolist()],
                    "color": colour,
                    "size": 9,
                    "line": {"width": 1.6, "color": colour},
                },
                customdata=[
                    [place, names[member], "wrong" if wrong[member] else "right"] for member in members.tolist()
                ],
                hovertemplate=f"Cluster {place + 1}<br>%{{customdata[1]}}<br>decision %{{customdata[2]}}<extra></extra>",
                unselected={"marker": {"opacity": 1}},
            )
        )
    explorable(figure, colours, _HEIGHT)
    figure.update_layout(
        showlegend=True,
        legend={
            "title": {"text": "Cluster", "font": {"size": 14}},
            "orientation": "h",
            "y": -0.02,
            "yanchor": "top",
            "x": 0,
        },
    )
    figure.update_xaxes(showticklabels=False, title="", zeroline=False)
    figure.update_yaxes(showticklabels=False, title="", zeroline=False)
    return figure


def eigenvalues(values: NDArray[np.float64], groups: int, dark: bool = False) -> Figure:
    """The smallest eigenvalues in order; the gap behind the last group's is marked.

    Args:
        values: (m,) ascending.
        groups: as many as were taken.
    """
    colours = palette(dark)
    places = list(range(1, len(values) + 1))
    figure = Figure(
        go.Scatter(
            x=places,
            y=values,
            mode="markers",
            marker={"color": colours.accent, "size": 9},
            hovertemplate="eigenvalue %{x}: %{y:.3f}<extra></extra>",
        )
    )
    figure.add_vline(x=groups + 0.5, line={"color": colours.quiet, "dash": "dash", "width": 1.5})
    explorable(figure, colours, 240)
    figure.update_xaxes(title="Number of the eigenvalue", dtick=1)
    figure.update_yaxes(title="Eigenvalue", rangemode="tozero")
    return figure
