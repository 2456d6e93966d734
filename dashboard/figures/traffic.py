"""What an engine did in the last hour."""

from __future__ import annotations

from collections.abc import Sequence

from plotly import graph_objects as go

from dashboard.figures.style import SERIES, Figure, palette, quiet
from dashboard.serving.traffic import between, quantile
from dashboard.serving.types import Traffic, Work

MINUTES = 60
KINDS: dict[Work, str] = {
    "scores": "Scores",
    "explanation": "Maps",
    "checks": "Trust checks",
    "other": "Other passes",
}
_DASHES = {"scores": "solid", "explanation": "dash", "checks": "dot", "other": "dashdot"}


def throughput(traffic: Sequence[Traffic], now: float, dark: bool = False) -> Figure:
    """Answers a minute, by kind.

    Args:
        now: seconds since 1970.
    """
    figure = Figure()
    for number, (kind, title) in enumerate(KINDS.items()):
        counts = [between(traffic, kind, *_minute(now, ago)).done for ago in _AGO]
        if any(counts):
            figure.add_trace(
                go.Bar(
                    x=[-ago for ago in _AGO], y=counts, name=title, marker={"color": SERIES[number]},
                    hovertemplate=f"%{{y}} {title.casefold()}<extra></extra>",
                )
            )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.15)
    figure.update_yaxes(rangemode="tozero", tickformat="d", minallowed=0)
    return _laid_out(figure, dark)


def latency(traffic: Sequence[Traffic], now: float, dark: bool = False) -> Figure:
    """Time from asking to the answer, waiting included: the median, and a bar up to the 95th percentile."""
    figure = Figure()
    for number, (kind, title) in enumerate(KINDS.items()):
        spans = [(-ago, between(traffic, kind, *_minute(now, ago)).took) for ago in _AGO]
        points = [(x, quantile(took, 0.5) or 0.0, quantile(took, 0.95) or 0.0) for x, took in spans if sum(took)]
        if points:
            figure.add_trace(
                go.Scatter(
                    x=[x for x, _, _ in points], y=[median for _, median, _ in points], name=title,
                    mode="lines+markers", line={"color": SERIES[number], "dash": _DASHES[kind]}, marker={"size": 6},
                    error_y={
                        "type": "data", "symmetric": False, "thickness": 1, "width": 0,
                        "array": [high - median for _, median, high in points], "arrayminus": [0.0] * len(points),
                    },
                    customdata=[[high] for _, _, high in points],
                    hovertemplate=f"{title}: half within %{{y:.2g}} s, 95 % within %{{customdata[0]:.2g}} s<extra></extra>",
                )
            )  # fmt: skip
    ticks = (0.02, 0.1, 0.5, 2, 10, 60, 300)
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g} s" for tick in ticks])
    return _laid_out(figure, dark)


_AGO = range(MINUTES - 1, -1, -1)


def _minute(now: float, ago: int) -> tuple[float, float]:
    return now - 60 * (ago + 1), now - 60 * ago


def _laid_out(figure: Figure, dark: bool) -> Figure:
    quiet(figure, palette(dark), 240)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    ticks = [-60, -45, -30, -15, 0]
    words = ["60", "45", "30", "15", "now"]
    figure.update_xaxes(range=[-MINUTES, 0.6], title="minutes ago", tickvals=ticks, ticktext=words)
    return figure
