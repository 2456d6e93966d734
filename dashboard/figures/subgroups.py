"""Figures of the groups side by side: each value beside its gap to the rest, calibration, and heat tables."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.audit.intervals import Estimate
from dashboard.audit.subgroups import Group
from dashboard.figures.style import SERIES, Figure, Palette, explorable, palette

LINE = 28  # CSS pixels a row takes
_TOP = 110
_SURE = 0.05  # adjusted p below which a gap is marked


@dataclass(frozen=True)
class Cell:
    """One cell of a heat table.

    Attributes:
        key: what a click on it returns.
        shade: what its colour says; None leaves it blank.
    """

    key: Hashable
    text: str
    hover: str
    shade: float | None


def values_and_gaps(groups: Sequence[Group], figure: str, title: str, dark: bool = False) -> Figure:
    """Each group's value at the left and its gap to all other cases at the right; a click returns the group's label.

    Args:
        figure: name of the figure among the groups' values.
        title: of the figure, for people.
    """
    colours = palette(dark)
    drawn = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[title, "Gap to the rest"],
    )  # fmt: skip
    values = [group.values[figure] for group in groups]
    gaps = [group.gaps[figure].estimate for group in groups]
    sure = [(group.gaps[figure].adjusted or 1) < _SURE for group in groups]
    keys = [group.label for group in groups]
    counts = [f"{group.n:,} cases, {group.positives:,} positive" for group in groups]
    add_points(drawn, values, keys, counts, 1, colours.accent, "circle", colours)
    for chosen, colour, symbol in ((False, colours.accent, "circle"), (True, SERIES[5], "diamond")):
        places = [place for place, one in enumerate(sure) if one == chosen]
        words = [
            f"{counts[place]}<br>p = {_p(groups[place].gaps[figure].p)}, adjusted {_p(groups[place].gaps[figure].adjusted)}"
            for place in places
        ]
        add_points(
            drawn, [gaps[p] for p in places], [keys[p] for p in places], words, 2, colour, symbol, colours, places
        )
    drawn.add_vline(x=0, line={"color": colours.quiet, "dash": "dash", "width": 1.5}, col=2)
    return by_line(drawn, [f"{group.label}  (n = {group.n:,})" for group in groups], colours)


def calibration(groups: Sequence[Group], dark: bool = False) -> Figure:
    """Mean score (diamond) against the observed rate (circle, with its interval), a line a group."""
    colours = palette(dark)
    drawn = make_subplots(rows=1, cols=1)
    keys = [group.label for group in groups]
    observed = [group.values["prevalence"] for group in groups]
    excess = [group.values["miscalibration"] for group in groups]
    words = [
        f"{group.n:,} cases; mean score less observed rate {gap.text}"
        for group, gap in zip(groups, excess, strict=True)
    ]
    add_points(drawn, observed, keys, words, 1, colours.accent, "circle", colours)
    known = [
        (place, rate.value, rate.value + gap.value)
        for place, (rate, gap) in enumerate(zip(observed, excess, strict=True))
        if rate.value is not None and gap.value is not None
    ]
    drawn.add_trace(
        go.Scatter(
            x=[end for _, rate, mean in known for end in (rate, mean, None)],
            y=[end for place, _, _ in known for end in (place, place, None)],
            mode="lines",
            line={"color": SERIES[1], "dash": "dot", "width": 2},
            hoverinfo="skip",
        )
    )
    drawn.add_trace(
        go.Scatter(
            x=[mean for _, _, mean in known],
            y=[place for place, _, _ in known],
            mode="markers",
            marker={"color": SERIES[1], "symbol": "diamond", "size": 10},
            customdata=[[keys[place], words[place]] for place, _, _ in known],
            hovertemplate="%{customdata[0]}<br>mean score %{x:.3f}<br>%{customdata[1]}<extra></extra>",
            unselected=_unselected(),
        )
    )
    drawn.update_xaxes(title="Observed rate (circle) and mean score (diamond)", rangemode="tozero")
    return by_line(drawn, [f"{group.label}  (n = {group.n:,})" for group in groups], colours)


def heat(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[Cell]], title: str, dark: bool = False
) -> Figure:
    """A table whose colour runs from blue (below 0) over the ground (0) to orange (above 0).

    Args:
        cells: one sequence for each row.
        title: of the colour.
    """
    colours = palette(dark)
    shades = np.array([[np.nan if c.shade is None else c.shade for c in row] for row in cells], dtype=np.float64)
    reach = float(np.nanmax(np.abs(shades))) if np.isfinite(shades).any() else 1.0
    low, high = (_mixed(colour, colours.ground) for colour in SERIES[:2])
    figure = Figure(
        go.Heatmap(
            z=shades,
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            zmin=-(reach or 1),
            zmax=reach or 1,
            colorscale=[[0, low], [0.5, colours.ground], [1, high]],
            xgap=2,
            ygap=2,
            hoverinfo="skip",
            colorbar={"title": {"text": title, "font": {"size": 13}}, "thickness": 10, "tickformat": "+.2f"},
        )
    )
    flat = [(x, y, cell) for y, row in enumerate(cells) for x, cell in enumerate(row)]
    figure.add_trace(  # heat maps answer no click: marks that cannot be seen do
        go.Scatter(
            x=[x for x, _, _ in flat],
            y=[y for _, y, _ in flat],
            mode="markers+text",
            text=[cell.text for _, _, cell in flat],
            textfont={"color": colours.text, "size": 12},
            marker={"size": 34, "symbol": "square", "color": "rgba(0,0,0,0)"},
            customdata=[[cell.key, cell.hover] for _, _, cell in flat],
            hovertemplate="%{customdata[1]}<extra></extra>",
            unselected=_unselected(),
        )
    )
    explorable(figure, colours, 130 + 40 * len(rows))
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=list(columns), showgrid=False, range=[-0.5, len(columns) - 0.5]
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=list(rows), showgrid=False, range=[len(rows) - 0.5, -0.5],
        color=colours.text,
    )  # fmt: skip
    return figure


def add_points(
    figure: Figure,
    estimates: Sequence[Estimate],
    keys: Sequence[Hashable],
    words: Sequence[str],
    column: int,
    colour: str,
    symbol: str,
    colours: Palette,
    places: Sequence[float] | None = None,
    name: str = "",
) -> None:
    """Dots with intervals, one a line; where there is no value, an open mark says why and can be clicked as well.

    Args:
        places: heights of the lines; 0, 1, ... if not given.
        name: stands in the legend where given.
    """
    heights = list(range(len(estimates))) if places is None else list(places)
    known = [place for place, one in enumerate(estimates) if one.value is not None]
    unknown = [place for place, one in enumerate(estimates) if one.value is None]
    values = [float(estimates[place].value or 0.0) for place in known]
    ends = [
        (
            value if estimates[place].low is None else float(estimates[place].low or 0.0),
            value if estimates[place].high is None else float(estimates[place].high or 0.0),
        )
        for place, value in zip(known, values, strict=True)
    ]
    figure.add_trace(
        go.Scatter(
            x=values,
            y=[heights[place] for place in known],
            mode="markers",
            name=name,
            showlegend=bool(name),
            marker={"color": colour, "size": 10, "symbol": symbol},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, high - value) for value, (_, high) in zip(values, ends, strict=True)],
                "arrayminus": [max(0.0, value - low) for value, (low, _) in zip(values, ends, strict=True)],
                "color": colour,
                "thickness": 2,
                "width": 4,
            },
            customdata=[[keys[place], f"{estimates[place].text}<br>{words[place]}{_note(estimates[place])}"] for place in known],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
            unselected=_unselected(),
        ),
        row=1,
        col=column,
    )  # fmt: skip
    if unknown:
        low = min((low for low, _ in ends), default=0.0)
        figure.add_trace(
            go.Scatter(
                x=[low] * len(unknown),
                y=[heights[place] for place in unknown],
                mode="markers+text",
                marker={"color": colours.quiet, "size": 8, "symbol": "circle-open"},
                text=[f" {_short(estimates[place].note)}" for place in unknown],
                textposition="middle right",
                cliponaxis=False,
                textfont={"color": colours.quiet, "size": 13},
                showlegend=False,
                customdata=[[keys[place], f"{estimates[place].note}<br>{words[place]}"] for place in unknown],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
                unselected=_unselected(),
            ),
            row=1,
            col=column,
        )


def by_line(figure: Figure, labels: Sequence[str], colours: Palette) -> Figure:
    """Names of the lines at the left, from top to bottom."""
    explorable(figure, colours, _TOP + LINE * len(labels))
    figure.update_yaxes(
        tickvals=list(range(len(labels))),
        ticktext=list(labels),
        range=[len(labels) - 0.4, -0.6],
        color=colours.text,
        showgrid=True,
    )
    return figure


def _mixed(colour: str, ground: str) -> str:
    """Pale enough for words to be read on it."""
    parts = [(int(colour[k : k + 2], 16), int(ground[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(0.6 * a + 0.4 * b):02x}" for a, b in parts)


def _unselected() -> dict[str, dict[str, float]]:
    """A click must not pale the other marks."""
    return {"marker": {"opacity": 1}}


def _short(note: str) -> str:
    """ "too few positive patients (n=7)" without whom, which the hover says."""
    return f"too few{note[note.rfind(' (') :]}" if note.startswith("too few") else note


def _note(estimate: Estimate) -> str:
    return f"<br>{estimate.note}" if estimate.note else ""


def _p(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"
