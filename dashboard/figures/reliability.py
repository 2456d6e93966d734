"""Reliability diagrams: what a score said against how often it came true, over how many cases stand behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.audit.calibration import Bins
from dashboard.audit.table import Mask
from dashboard.figures.style import SERIES, Figure, explorable, palette

T = TypeVar("T")

_SYMBOLS = ("circle", "diamond")
_DASHES = ("solid", "dot")
_AROUND = 0.7  # how far below the smallest value a logarithmic axis starts


def reliability(series: Mapping[str, Bins], event: str, log: bool = False, dark: bool = False) -> Figure:
    """Bins of one or two series (as given, recalibrated), their counts below.

    Every mark leads to its cases with the key ``"NAME:BIN"``. Empty bins are crosses on the axis.

    Args:
        event: what is counted, for the axis, e.g. "Edema present".
        log: both axes and the counts logarithmic; a share of 0 is then drawn on the lower edge, hollow.
    """
    colours = palette(dark)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.78, 0.22], vertical_spacing=0.04)
    floor = _floor(list(series.values())) if log else 0.0
    figure.add_trace(
        go.Scatter(
            x=[floor, 1], y=[floor, 1], mode="lines", hoverinfo="skip", name="calibrated",
            line={"color": colours.quiet, "dash": "dash", "width": 1.5},
        ), 1, 1,
    )  # fmt: skip
    for place, (name, found) in enumerate(series.items()):
        filled = found.n > 0
        keys = [[f"{name}:{number}"] for number in range(len(found.n))]
        words = [_words(found, number) for number in range(len(found.n))]
        colour = (SERIES[4 if dark else 0], SERIES[1])[place]
        y = np.maximum(found.observed[filled], floor)
        figure.add_trace(
            go.Scatter(
                x=found.confidence[filled].tolist(),
                y=y.tolist(),
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 1.5, "dash": _DASHES[place]},
                marker={
                    "size": 10,
                    "symbol": [_SYMBOLS[place] + ("-open" if rate <= floor and log else "") for rate in y],
                    "color": colour,
                },
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": (found.high[filled] - y).tolist(),
                    "arrayminus": (y - np.maximum(found.low[filled], floor)).tolist(),
                    "color": colour,
                    "thickness": 1.5,
                    "width": 3,
                },
                customdata=_those(keys, filled),
                text=_those(words, filled),
                hovertemplate=f"{name}<br>%{{text}}<extra></extra>",
            ), 1, 1,
        )  # fmt: skip
        middle = (found.edges[:-1] + found.edges[1:]) / 2
        figure.add_trace(
            go.Scatter(
                x=middle[~filled].tolist(), y=[floor] * int((~filled).sum()), mode="markers",
                marker={"symbol": "x-thin", "size": 8, "line": {"color": colours.quiet, "width": 1.5}},
                text=_those(words, ~filled), hovertemplate=f"{name}<br>%{{text}}<extra></extra>", showlegend=False,
            ), 1, 1,
        )  # fmt: skip
        figure.add_trace(
            go.Bar(
                x=middle.tolist(),
                y=found.n.tolist(),
                width=np.diff(found.edges).tolist(),
                marker={"color": colour, "opacity": 0.6, "pattern": {"shape": ("", "/")[place]}},
                customdata=keys,
                text=words,
                textposition="none",
                hovertemplate=f"{name}<br>%{{text}}<extra></extra>",
                showlegend=False,
            ), 2, 1,
        )  # fmt: skip
    explorable(figure, colours, 520)
    scale = "log" if log else "linear"
    ends = [float(np.log10(floor)), 0.02] if log else [-0.02, 1.02]
    figure.update_xaxes(type=scale, range=ends, **({"dtick": 1, "tickformat": "~g"} if log else {}))
    figure.update_xaxes(title="Predicted probability (mean of the bin)", row=2)
    figure.update_yaxes(
        title=f"Share: {event}", type=scale, range=ends, row=1, **({"dtick": 1, "tickformat": "~g"} if log else {})
    )
    most = 1.1 * max(1, *(int(found.n.max()) for found in series.values()))
    reach = [np.log10(0.7), np.log10(1.3 * most)] if log else [0, most]
    figure.update_yaxes(title="Cases", type=scale, range=reach, nticks=4, row=2)
    figure.update_layout(barmode="overlay", bargap=0)
    return _legend(figure, len(series) > 1)


def _legend(figure: Figure, shown: bool) -> Figure:
    figure.update_layout(showlegend=shown, legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0})
    return figure


def _floor(found: Sequence[Bins]) -> float:
    """Where logarithmic axes start."""
    values = [value for bins in found for part in (bins.confidence, bins.observed) for value in part[part > 0]]
    return _AROUND * max(1e-6, min(values, default=1e-3))


def _words(found: Bins, number: int) -> str:
    reach = f"scores {found.edges[number]:.3g} to {found.edges[number + 1]:.3g}"
    n = int(found.n[number])
    if not n:
        return f"{reach}<br>no case"
    return (
        f"{reach}<br>n = {n:,}<br>said {found.confidence[number]:.3f}, came true {found.observed[number]:.3f} "
        f"({found.low[number]:.3f} to {found.high[number]:.3f})"
    )


def _those(values: Sequence[T], mask: Mask) -> list[T]:
    return [value for value, chosen in zip(values, mask, strict=True) if chosen]
