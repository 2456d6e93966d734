"""How common the classes are, and how the figures go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly import graph_objects as go

from dashboard.audit.discrimination import ClassFigures
from dashboard.cases import readable
from dashboard.figures.style import SERIES, Figure, explorable, palette

_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross")
_LINE = 30  # CSS pixels a class takes


def prevalence_chart(frame: pd.DataFrame, log: bool, dark: bool = False) -> Figure:
    """A mark for each class and part, with the 95 % interval; most common class on top.

    Args:
        frame: of :func:`dashboard.audit.imbalance.prevalence`. ``customdata[0]`` of a mark is its row number there.
        log: logarithmic axis; classes without positives are then named at its edge, not drawn.
    """
    colours = palette(dark)
    highest = frame.groupby("class", sort=False)["prevalence"].max().fillna(-1.0).sort_values(kind="stable")
    order = {str(name): place for place, name in enumerate(highest.index)}
    parts = list(dict.fromkeys(frame["split"]))
    figure = Figure()
    for index, part in enumerate(parts):
        rows = frame[(frame["split"] == part) & (frame["prevalence"].gt(0) if log else frame["prevalence"].notna())]
        lift = 0.24 * (index - (len(parts) - 1) / 2)  # parts side by side, each with its own interval
        value = rows["prevalence"]
        figure.add_trace(
            go.Scatter(
                x=value.tolist(),
                y=[order[name] - lift for name in rows["class"]],
                name=part,
                mode="markers",
                marker={"color": SERIES[index % len(SERIES)], "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 10},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": (rows["high"] - value).tolist(),
                    "arrayminus": (value - rows["low"]).tolist(),
                    "thickness": 1.5,
                    "width": 3,
                },
                customdata=[[int(number)] for number in rows.index],
                hovertext=[_facts(row) for row in rows.to_dict("records")],
                unselected={"marker": {"opacity": 0.6}},
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )
    for name, place in order.items():
        if not frame.loc[frame["class"] == name, "positives"].any():
            figure.add_annotation(x=0, xref="paper", xanchor="left", y=place, text="no positive case", showarrow=False)
    figure = explorable(figure, colours, 110 + _LINE * len(order))
    figure.update_xaxes(
        title_text="Prevalence", type="log" if log else "linear", tickformat="~%", dtick="D2" if log else None
    )
    if not log:
        figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(
        tickvals=list(range(len(order))),
        ticktext=[readable(name) for name in order],
        range=[-0.6, len(order) - 0.4],
        color=colours.text,
    )
    return _with_legend(figure) if len(parts) > 1 else figure


def _facts(row: Mapping[str, object]) -> str:
    part = "" if row["split"] == "all" else f", {row['split']}"
    return (
        f"<b>{readable(str(row['class']))}</b>{part}<br>{row['prevalence']:.2%} ({row['low']:.2%} to {row['high']:.2%})"
        f"<br>{row['positives']:,} of {row['images']:,} cases<br>"
        f"{row['positive_patients']:,} of {row['patients']:,} patients"
    )


def against_prevalence(
    classes: Sequence[ClassFigures], metric: str, title: str, log: bool, dark: bool = False
) -> Figure:
    """The figure of each class over its prevalence, with intervals and the no-skill line.

    Args:
        metric: "auroc", "auprc", or "lift" (AUPRC / prevalence, its interval that of AUPRC by the same prevalence).
        title: of the axis.
        log: logarithmic prevalence. ``customdata[0]`` of a mark is the name of the class.
    """
    colours = palette(dark)
    shown = [(one, bars) for one in classes if (bars := _bars(one, metric)) is not None and one.positives]
    values = np.asarray([bars for _, bars in shown], dtype=np.float64).reshape(-1, 3)
    figure = Figure(
        go.Scatter(
            x=[one.prevalence for one, _ in shown],
            y=values[:, 0].tolist(),
            mode="markers+text",
            text=[readable(one.name) for one, _ in shown],
            textposition=_sides([one.prevalence for one, _ in shown], values[:, 0]),
            cliponaxis=False,
            textfont={"size": 12, "color": colours.text},
            marker={"color": colours.accent, "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (values[:, 2] - values[:, 0]).tolist(),
                "arrayminus": (values[:, 0] - values[:, 1]).tolist(),
                "thickness": 1.5,
                "width": 3,
            },
            customdata=[[one.name] for one, _ in shown],
            hovertext=[
                f"<b>{readable(one.name)}</b><br>{title} {value:.3f} ({low:.3f} to {high:.3f})"
                f"<br>prevalence {one.prevalence:.2%}, {one.positives:,} of {one.n:,} cases"
                for one, (value, low, high) in shown
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            selected={"textfont": {"color": colours.text}},
            unselected={"marker": {"opacity": 0.6}},
        )
    )
    if shown:
        across = [one.prevalence for one, _ in shown]
        ends = (
            np.geomspace(min(across) / 2.5, max(across) * 2.5, 50).clip(max=1)
            if log
            else np.linspace(0, max(across) * 1.1, 50)
        )
        figure.add_trace(
            go.Scatter(
                x=ends.tolist(),
                y=(ends if metric == "auprc" else np.full(50, 0.5 if metric == "auroc" else 1.0)).tolist(),
                mode="lines",
                line={"color": colours.quiet, "dash": "dash", "width": 1.5},
                hoverinfo="skip",
            )
        )
    figure = explorable(figure, colours, 440)
    figure.update_xaxes(
        title_text="Prevalence", type="log" if log else "linear", tickformat="~%", dtick="D2" if log else None
    )
    figure.update_yaxes(title_text=title)
    return figure


def _bars(one: ClassFigures, metric: str) -> tuple[float, float, float] | None:
    """Value and ends of the interval; the value thrice where there is no interval yet."""
    estimate = one.figures["auprc" if metric == "lift" else metric]
    if estimate.value is None:
        return None
    by = one.prevalence if metric == "lift" else 1.0
    low, high = (estimate.value if end is None else end for end in (estimate.low, estimate.high))
    return estimate.value / by, low / by, high / by


def _sides(across: Sequence[float], up: NDArray[np.float64]) -> list[str]:
    """Where each name stands: on the side away from the nearest mark of about the same height, else to the right."""
    x, y = np.log(np.asarray(across)), up / (np.ptp(up) or 1.0) if len(up) else up
    sides = []
    for place in range(len(x)):
        near = np.flatnonzero((np.abs(y - y[place]) < 0.08) & (np.arange(len(x)) != place))
        nearest = near[np.abs(x[near] - x[place]).argmin()] if len(near) else place
        sides.append("middle left" if x[nearest] > x[place] else "middle right")
    return sides


def _with_legend(figure: Figure) -> Figure:
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": "toggle"}
    )
    return figure
