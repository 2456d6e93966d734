"""One class at every threshold: ROC, precision and recall, figures against the threshold and the prevalence, decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go

from dashboard.audit.decision import DecisionCurve
from dashboard.audit.operating import Line
from dashboard.figures.style import SERIES, Figure, Palette, explorable, palette

Array = NDArray[np.float64]
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_HEIGHT = 380
_LIGHT = (SERIES[0], SERIES[1], SERIES[2], SERIES[3], SERIES[4])
_DARK = (SERIES[4], SERIES[1], SERIES[2], SERIES[3], SERIES[0])  # the lighter blue first


@dataclass(frozen=True)
class Mark:
    """A point to stand out, with what to say of it."""

    x: float
    y: float
    words: str


def roc(fpr: Array, line: Line, thresholds: Array, mark: Mark | None, n: tuple[int, int], dark: bool = False) -> Figure:
    """Sensitivity (``line``) against 1 - specificity (``fpr``, (G,)); points lead to cases with their threshold.

    Args:
        thresholds: (G,) of the points. mark: the threshold at hand. n: positives and negatives.
    """
    colours = palette(dark)
    figure = Figure(_straight([0, 1], [0, 1], colours, "no skill"))
    _banded(figure, np.concatenate([[0.0], fpr]), _from_zero(line), _hues(dark)[0])
    figure.add_trace(_points(fpr, line, thresholds, "1 - specificity %{x:.3f}", _hues(dark)[0], n))
    _marked(figure, mark, colours)
    explorable(figure, colours, _HEIGHT)
    figure.update_xaxes(title="1 - specificity (share of healthy cases called)", range=[-0.02, 1.02])
    figure.update_yaxes(title="Sensitivity", range=[-0.02, 1.02])
    return figure


def precision_recall(
    recall: Array, line: Line, thresholds: Array, mark: Mark | None, n: tuple[int, int], dark: bool = False
) -> Figure:
    """PPV (``line``) against sensitivity; the broken line is the prevalence, what no skill reaches."""
    colours = palette(dark)
    rate = n[0] / max(1, sum(n))
    figure = Figure(_straight([0, 1], [rate, rate], colours, "no skill (prevalence)"))
    _banded(figure, recall, line, SERIES[2])
    figure.add_trace(_points(recall, line, thresholds, "sensitivity %{x:.3f}", SERIES[2], n))
    _marked(figure, mark, colours)
    explorable(figure, colours, _HEIGHT)
    figure.update_xaxes(title="Sensitivity (recall)", range=[-0.02, 1.02])
    figure.update_yaxes(title="PPV (precision)", range=[-0.02, 1.02])
    return figure


def against(x: Array, lines: Sequence[Line], title: str, at: float, log: bool = False, dark: bool = False) -> Figure:
    """Several shares in [0, 1] over a common axis, told apart by colour and dashes; ``at`` is marked.

    Args:
        title: of the axis.
    """
    colours = palette(dark)
    figure = Figure()
    for place, line in enumerate(lines):
        colour, dash = _hues(dark)[place], _DASHES[place]
        _banded(figure, x, line, colour, dash, named=True)
        figure.data[-1].update(
            text=[_interval(line, k) for k in range(len(x))],
            hovertemplate=f"{title.lower()} %{{x:.4g}}<br>{line.name} %{{text}}<extra></extra>",
        )
    figure.add_vline(x=at, line={"color": colours.text, "width": 1.5, "dash": "dash"})
    explorable(figure, colours, _HEIGHT)
    figure.update_xaxes(title=title, **({"type": "log", "dtick": 1, "tickformat": "~g"} if log else {}))
    figure.update_yaxes(range=[-0.02, 1.02])
    return _legend(figure)


def decision(curve: DecisionCurve, at: float, dark: bool = False) -> Figure:
    """Net benefit of the model against acting on all and on nobody."""
    colours = palette(dark)
    figure = Figure()
    _banded(figure, curve.threshold, Line("Model", curve.model, curve.low, curve.high), _hues(dark)[0], named=True)
    words = [
        f"threshold {t:.3f}<br>model {model:.4f} ({low:.4f} to {high:.4f})<br>act on all {everyone:.4f}, on nobody 0"
        f"<br>n = {curve.n:,}"
        for t, model, low, high, everyone in zip(
            curve.threshold, curve.model, curve.low, curve.high, curve.treat_all, strict=True
        )
    ]
    figure.data[-1].update(text=words, hovertemplate="%{text}<extra></extra>")
    ends = [float(curve.threshold[0]), float(curve.threshold[-1])]
    for name, y, dash, colour in (
        ("Act on all", curve.treat_all.tolist(), "dash", SERIES[5]),
        ("Act on nobody", [0.0] * len(curve.threshold), "dot", colours.quiet),
    ):
        figure.add_trace(
            go.Scatter(
                x=curve.threshold.tolist(), y=y, mode="lines", name=name, hoverinfo="skip",
                line={"color": colour, "dash": dash, "width": 2},
            )
        )  # fmt: skip
    if ends[0] <= at <= ends[1]:
        figure.add_vline(x=at, line={"color": colours.text, "width": 1.5, "dash": "dash"})
    explorable(figure, colours, _HEIGHT)
    top = max(curve.prevalence, float(np.nan_to_num(curve.high).max(initial=0.0)), 1e-3)
    figure.update_xaxes(title="Probability from which one would act", range=ends)
    figure.update_yaxes(title="Net benefit (true positives per case)", range=[-0.35 * top, 1.1 * top])
    return _legend(figure)


def _hues(dark: bool) -> tuple[str, ...]:
    return _DARK if dark else _LIGHT


def _legend(figure: Figure) -> Figure:
    figure.update_layout(showlegend=True, legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0})
    return figure


def _from_zero(line: Line) -> Line:
    return Line(line.name, *(np.concatenate([[0.0], part]) for part in (line.value, line.low, line.high)))


def _banded(figure: Figure, x: Array, line: Line, colour: str, dash: str = "solid", named: bool = False) -> None:
    """The band, then the line, without hover of their own."""
    known = np.isfinite(line.low) & np.isfinite(line.high)
    if known.any():
        there, low, high = x[known], line.low[known], line.high[known]
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([there, there[::-1]]).tolist(), y=np.concatenate([low, high[::-1]]).tolist(),
                fill="toself", fillcolor=_faint(colour), line={"width": 0}, mode="lines", hoverinfo="skip",
                showlegend=False,
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=x.tolist(), y=line.value.tolist(), mode="lines", name=line.name, line={"color": colour, "dash": dash,
            "width": 2}, hoverinfo=None if named else "skip", showlegend=named,
        )
    )  # fmt: skip


def _points(x: Array, line: Line, thresholds: Array, first: str, colour: str, n: tuple[int, int]) -> go.Scatter:
    words = [f"{line.name} {_interval(line, k)}<br>threshold {t:.4g}" for k, t in enumerate(thresholds)]
    return go.Scatter(
        x=x.tolist(),
        y=line.value.tolist(),
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.55},
        customdata=[[float(t)] for t in thresholds],
        text=words,
        hovertemplate=f"{first}<br>%{{text}}<br>n = {n[0]:,} with, {n[1]:,} without<extra></extra>",
    )


def _straight(x: list[float], y: list[float], colours: Palette, name: str) -> go.Scatter:
    line = {"color": colours.quiet, "dash": "dash", "width": 1.5}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name=name)


def _marked(figure: Figure, mark: Mark | None, colours: Palette) -> None:
    if mark is not None:
        ring = {"symbol": "circle-open", "size": 15, "color": colours.text, "line": {"width": 3, "color": colours.text}}
        figure.add_trace(
            go.Scatter(
                x=[mark.x], y=[mark.y], mode="markers", marker=ring, text=[mark.words],
                hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip


def _interval(line: Line, place: int) -> str:
    value, low, high = (float(part[place]) for part in (line.value, line.low, line.high))
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if np.isfinite(low) else "")


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
