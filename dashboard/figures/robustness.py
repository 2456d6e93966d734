"""Decisions and maps on worse pictures: one small panel a corruption."""

from __future__ import annotations

from collections.abc import Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.audit.intervals import Estimate
from dashboard.figures.style import SERIES, Figure, palette, quiet
from dashboard.hunting.robustness_result import Robustness

_ACROSS = 4
SENSITIVITY, SPECIFICITY, MAPS = "Sensitivity", "Specificity", "Maps kept"
_LINES = {SENSITIVITY: (SERIES[0], "solid", "circle"), SPECIFICITY: (SERIES[1], "dash", "diamond"), MAPS: (SERIES[2], "solid", "square")}  # fmt: skip


def decisions(result: Robustness, finding: str, dark: bool = False) -> Figure:
    """Sensitivity and specificity of a class at its operating point, by strength, with bands of 95 %."""
    clean = result.clean[finding]
    panels = []
    for curves in result.corruptions:
        points = (clean, *curves.classes[finding])
        panels.append(
            {SENSITIVITY: [one.sensitivity for one in points], SPECIFICITY: [one.specificity for one in points]}
        )
    return _panels(result, panels, [0.0, 1.0], dark)


def maps(result: Robustness, finding: str, dark: bool = False) -> Figure:
    """Mean rank correlation of the class's maps with those of the unchanged pictures, by strength."""
    same = Estimate(1.0, None, None, 0, "the same map")
    panels = [{MAPS: [same, *(one.drift for one in curves.classes[finding])]} for curves in result.corruptions]
    low = min(
        (one.low or one.value or 0.0 for panel in panels for one in panel[MAPS] if one.value is not None), default=0
    )
    return _panels(result, panels, [min(0.0, low), 1.0], dark)


def _panels(result: Robustness, panels: Sequence[dict[str, list[Estimate]]], reach: list[float], dark: bool) -> Figure:
    colours = palette(dark)
    rows = -(-len(panels) // _ACROSS)
    figure = make_subplots(
        rows=rows, cols=_ACROSS, subplot_titles=[one.title for one in result.corruptions], shared_yaxes="all",
        vertical_spacing=0.3 / rows, horizontal_spacing=0.03,
    )  # fmt: skip
    for number, (curves, panel) in enumerate(zip(result.corruptions, panels, strict=True)):
        place = {"row": number // _ACROSS + 1, "col": number % _ACROSS + 1}
        words = ["unchanged", *curves.amounts]
        for name, estimates in panel.items():
            colour, dash, symbol = _LINES[name]
            known = [x for x, one in enumerate(estimates) if one.value is not None]
            sure = [x for x in known if estimates[x].low is not None and estimates[x].high is not None]
            figure.add_trace(
                go.Scatter(
                    x=[*sure, *sure[::-1]],
                    y=[*(estimates[x].high for x in sure), *(estimates[x].low for x in sure[::-1])],
                    fill="toself",
                    fillcolor=f"rgba({','.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))},0.2)",
                    line={"width": 0},
                    mode="lines",
                    hoverinfo="skip",
                    showlegend=False,
                ),
                **place,
            )
            figure.add_trace(
                go.Scatter(
                    x=known,
                    y=[estimates[x].value for x in known],
                    mode="lines+markers",
                    name=name,
                    legendgroup=name,
                    showlegend=not number,
                    line={"color": colour, "width": 2, "dash": dash},
                    marker={"size": 7, "symbol": symbol},
                    customdata=[[words[x], estimates[x].text, estimates[x].n] for x in known],
                    hovertemplate=f"%{{customdata[0]}}<br>{name} %{{customdata[1]}}<br>n = %{{customdata[2]}}<extra></extra>",
                ),
                **place,
            )
        few = [one for estimates in panel.values() for one in estimates if one.value is None]
        if len(few) >= len(panel) * (len(words) - 1):
            figure.add_annotation(
                x=2, y=sum(reach) / 2, text=few[-1].note.replace(" (", "<br>("), showarrow=False, **place
            )
    several = any(len(panel) > 1 for panel in panels)
    quiet(figure, colours, (70 if several else 34) + 190 * rows)
    figure.update_layout(
        showlegend=several,
        legend={"orientation": "h", "y": 1.0, "yref": "container", "yanchor": "top", "x": 0},
        margin={"t": 70 if several else 34},
        hovermode="closest",
    )
    figure.update_xaxes(tickvals=[0, 1, 2, 3, 4], ticktext=["as is", "1", "2", "3", "4"], range=[-0.3, 4.3])
    span = reach[1] - reach[0]
    figure.update_yaxes(range=[reach[0] - 0.05 * span, reach[1] + 0.05 * span])
    return figure
