"""What a trust check rests on, drawn: scores while parts are hidden, likeness while weights are drawn anew."""

from __future__ import annotations

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.figures.style import SERIES, Figure, palette, quiet
from explainers.quality.types import Verdict

SHARE = "share"
_OWN = "this map"
_VIEWS = {"absolute": "size only", "signed": "with signs"}
HEIGHT = 300


def evidence(verdict: Verdict, dark: bool = False) -> Figure | None:
    """The curves of a verdict; None where it has none."""
    if SHARE in verdict.curves:
        return _hiding(verdict, dark)
    return _stages(verdict, dark) if verdict.curves else None


def _hiding(verdict: Verdict, dark: bool) -> Figure:
    """Score against the share of the picture that is hidden (or shown), of this map and of its controls."""
    colours = palette(dark)
    share = 100 * verdict.curves[SHARE]
    names = [name for name in verdict.curves if name != SHARE and ", " not in name]
    figure = make_subplots(
        rows=1, cols=len(names), shared_yaxes=True, subplot_titles=[one.capitalize() for one in names]
    )
    others = list(dict.fromkeys(name.partition(", ")[2] for name in verdict.curves if ", " in name))
    for column, first in enumerate(names, 1):
        for number, other in enumerate(["", *others]):
            values = verdict.curves.get(f"{first}, {other}" if other else first)
            if values is None:
                continue
            line = (
                {"color": colours.text, "width": 3}
                if not other
                else {
                    "color": SERIES[(number - 1) % len(SERIES)],
                    "width": 1.5,
                    "dash": _DASH[(number - 1) % len(_DASH)],
                }
            )
            figure.add_trace(
                go.Scatter(
                    x=share.tolist(), y=values.tolist(), mode="lines", name=other or _OWN, line=line,
                    legendgroup=other or _OWN, showlegend=column == 1,
                    hovertemplate=f"{other or _OWN}<br>%{{x:.0f}} %: %{{y:.3g}}<extra></extra>",
                ), 1, column,
            )  # fmt: skip
    quiet(figure, colours, HEIGHT)
    figure.update_xaxes(title_text="Share of the picture (%)")
    figure.update_yaxes(title_text="Score of the class", col=1)
    return _with_legend(figure)


def _stages(verdict: Verdict, dark: bool) -> Figure:
    """Likeness to the true map against the part of the network whose weights are random, from the top down."""
    colours = palette(dark)
    stages = verdict.facts.get("stages", "").split(", ")
    figure = go.Figure()
    for number, (name, values) in enumerate(verdict.curves.items()):
        measure, _, view = name.partition(", ")
        figure.add_trace(
            go.Scatter(
                x=stages, y=values.tolist(), mode="lines+markers", name=f"{measure}, {_VIEWS.get(view, view)}",
                line={"color": SERIES[number % len(SERIES)], "width": 2, "dash": _DASH[number % len(_DASH)]},
                hovertemplate=f"{name}<br>random from the top to %{{x}}: %{{y:.2f}}<extra></extra>",
            )
        )  # fmt: skip
    quiet(figure, colours, HEIGHT)
    figure.update_xaxes(title_text="Weights drawn anew from the top down to")
    figure.update_yaxes(title_text="Likeness to the true map", range=[-0.3, 1.05])
    return _with_legend(figure)


_DASH = ("solid", "dash", "dot", "dashdot", "longdash")


def _with_legend(figure: Figure) -> Figure:
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.28, "x": 0, "font": {"size": 13}})
    return figure
