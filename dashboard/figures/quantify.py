"""Density of the lungs, right and left, with the bands of aeration, now and earlier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go

from dashboard.figures.style import SERIES, Figure, explorable, palette
from dashboard.quantify.measures import AERATION, EDGES_HU, LungMeasures

_NAMES = {"right": "Right lung", "left": "Left lung"}
_DASHES = {"right": "solid", "left": "dash"}


def density_chart(lungs: Sequence[LungMeasures], dark: bool = False, earlier: Sequence[LungMeasures] = ()) -> Figure:
    """Share of each lung by density, in per cent per 25 HU; the earlier scan thin.

    Args:
        lungs: right and left, with histograms.
        earlier: likewise, of the scan compared with.
    """
    figure = _banded(dark)
    for times, width, note in ((earlier, 1.5, ", earlier"), (lungs, 3.0, "")):
        for number, lung in enumerate(times):
            share = 100 * lung.histogram_ml / max(float(lung.histogram_ml.sum()), 1e-9)
            name = _NAMES[lung.where] + note
            dash = "dot" if note else _DASHES[lung.where]
            figure.add_trace(_steps(share, name, SERIES[number], width, dash))
    return _finished(figure, dark, "% of the lung per 25 HU")


def difference_chart(points: NDArray[np.float64], dark: bool = False) -> Figure:
    """By how many points the share of each density differs from the earlier scan.

    Args:
        points: (2, bins) of the right and the left lung, now minus earlier.
    """
    figure = _banded(dark)
    figure.add_hline(y=0, line={"color": palette(dark).quiet, "width": 1})
    for number, (name, values) in enumerate(zip(("right", "left"), points, strict=True)):
        figure.add_trace(_steps(values, _NAMES[name], SERIES[number], 3.0, _DASHES[name]))
    return _finished(figure, dark, "change in points per 25 HU")


def _steps(values: NDArray[np.float64], name: str, colour: str, width: float, dash: str) -> go.Scatter:
    middles = (EDGES_HU[:-1] + EDGES_HU[1:]) / 2
    return go.Scatter(
        x=middles.tolist(),
        y=values.tolist(),
        name=name,
        mode="lines",
        line={"color": colour, "width": width, "dash": dash, "shape": "hvh"},
        hovertemplate=f"{name}: %{{y:.2f}} at %{{x:.0f}} HU<extra></extra>",
    )


def _banded(dark: bool) -> Figure:
    """The bands of aeration, named at the top and parted by lines."""
    figure, colours = Figure(), palette(dark)
    first, last = float(EDGES_HU[0]), float(EDGES_HU[-1])
    for index, (name, low, high) in enumerate(AERATION):
        left, right = max(low, first), min(high, last)
        if index % 2 == 0:
            figure.add_vrect(x0=left, x1=right, fillcolor=colours.grid, opacity=0.35, line_width=0, layer="below")
        words = name.replace(" ", "<br>").replace("-", "-<br>") if right - left < 300 else name
        figure.add_annotation(
            x=(left + right) / 2, y=1, yref="paper", yanchor="bottom", text=words, showarrow=False, align="center"
        )
    return figure


def _finished(figure: Figure, dark: bool, what: str) -> Figure:
    figure = explorable(figure, palette(dark), 380)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top"},
        margin={"l": 8, "r": 12, "t": 64, "b": 8},
    )
    figure.update_xaxes(title_text="Density (HU)", range=[float(EDGES_HU[0]), float(EDGES_HU[-1])])
    figure.update_yaxes(title_text=what)
    figure.update_annotations(font={"size": 12})
    return figure
