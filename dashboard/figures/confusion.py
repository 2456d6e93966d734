"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go

from dashboard.figures.style import SERIES, Figure, Palette, palette, quiet

_CELL = 46  # CSS pixels
_ROW = 34  # of a grid
_BELOW, _ABOVE = SERIES[1], SERIES[0]  # of a scale with a middle: orange and blue


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid of R x C cells that lead to their cases.

    Attributes:
        rows, columns: names, from top to bottom and from left to right; no two the same.
        shade: (R, C) float, [0, 1], or [-1, 1] around a middle; NaN where nothing is drawn.
        text, hover: R lists of C; a cell without hover text cannot be clicked.
        row_title, column_title: of the axes.
        bar: title of the colour bar; none if "".
        ticks: shade to words on the bar.
        middle: shades go both ways from 0.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    shade: NDArray[np.float64]
    text: Sequence[Sequence[str]]
    hover: Sequence[Sequence[str]]
    row_title: str
    column_title: str
    bar: str = ""
    ticks: Mapping[float, str] = field(default_factory=dict)
    middle: bool = False


def grid(cells: Cells, dark: bool = False) -> Figure:
    """Shaded cells with their words; ``customdata[0]`` of the mark over row r and column c is r * C + c.

    A click on a heat map selects nothing, so each cell carries an unseen square, which shows its frame when chosen.
    """
    colours = palette(dark)
    ends = [_BELOW, colours.ground, _ABOVE] if cells.middle else [colours.ground, colours.accent]
    figure = Figure(
        go.Heatmap(
            z=cells.shade,
            zmin=-1 if cells.middle else 0,
            zmax=1,
            colorscale=[[place, colour] for place, colour in zip(np.linspace(0, 1, len(ends)), ends, strict=True)],
            xgap=2,
            ygap=2,
            hoverinfo="skip",
            showscale=bool(cells.bar),
            colorbar={
                "title": {"text": cells.bar, "font": {"size": 14}, "side": "right"},
                "thickness": 10,
                "tickvals": list(cells.ticks),
                "ticktext": list(cells.ticks.values()),
            },
        )
    )
    count = len(cells.columns)
    places = [(row, column) for row in range(len(cells.rows)) for column in range(count)]
    written = [place for place in places if cells.text[place[0]][place[1]]]
    figure.add_trace(
        go.Scatter(
            x=[column for _, column in written],
            y=[row for row, _ in written],
            text=[cells.text[row][column] for row, column in written],
            mode="text",
            textfont={"color": [_word(cells, row, column, colours) for row, column in written]},
            hoverinfo="skip",
            selected={"textfont": {"color": colours.text}},  # without it words would fade when a cell is chosen
        )
    )
    open_ = [place for place in places if cells.hover[place[0]][place[1]]]
    figure.add_trace(
        go.Scatter(
            x=[column for _, column in open_],
            y=[row for row, _ in open_],
            customdata=[[row * count + column] for row, column in open_],
            hovertext=[cells.hover[row][column] for row, column in open_],
            mode="markers",
            marker={
                "symbol": "square-open",
                "size": _ROW - 8,
                "color": colours.text,
                "opacity": 0,
                "line": {"width": 2},
            },
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 0}},
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure = quiet(figure, colours, 130 + _ROW * len(cells.rows))
    # The nearest mark at any distance is that of the cell under the pointer.
    figure.update_layout(hovermode="closest", hoverdistance=-1, clickmode="event+select")
    figure.update_xaxes(
        title_text=cells.column_title,
        tickvals=list(range(count)),
        ticktext=list(cells.columns),
        range=[-0.5, count - 0.5],
        tickangle=0 if count < 5 else -35,
        showgrid=False,
        color=colours.text,
    )
    figure.update_yaxes(
        title_text=cells.row_title,
        title_standoff=16,
        tickvals=list(range(len(cells.rows))),
        ticktext=list(cells.rows),
        range=[len(cells.rows) - 0.5, -0.5],
        showgrid=False,
        color=colours.text,
    )
    return figure


def _word(cells: Cells, row: int, column: int, colours: Palette) -> str:
    shade = float(cells.shade[row, column])
    if np.isnan(shade):
        return colours.quiet
    end = (_BELOW if shade < 0 else _ABOVE) if cells.middle else colours.accent
    return _contrast(_mixed(colours.ground, end, abs(shade)))


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]], dark: bool = False) -> Figure:
    """Counts in the cells; the shade is the share of the true class, so that rare classes are seen.

    Args:
        matrix: (K, K) counts; rows are the true classes, columns those decided for.
    """
    colours = palette(dark)
    counts = np.asarray(matrix, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    truth = [f"{name}  (n = {total:,})" for name, total in zip(classes, totals[:, 0], strict=True)]
    figure = Figure(
        go.Heatmap(
            z=shares,
            x=list(classes),
            y=truth,
            text=counts,
            zmin=0,
            zmax=1,
            colorscale=[[0, colours.ground], [1, colours.accent]],
            xgap=2,
            ygap=2,
            colorbar={
                "title": {"text": "share of true class", "font": {"size": 14}},
                "tickformat": ".0%",
                "thickness": 10,
            },
            hovertemplate="true %{y}<br>decided %{x}<br>%{text:,} cases, %{z:.1%} of the class<extra></extra>",
        )
    )
    places = [(row, column) for row in range(len(classes)) for column in range(len(classes))]
    figure.add_trace(  # a heat map's own numbers have one colour for all cells
        go.Scatter(
            x=[classes[column] for _, column in places],
            y=[truth[row] for row, _ in places],
            text=[f"{counts[place]:,}" for place in places],
            mode="text",
            textfont={"color": [ink(float(shares[place]), colours) for place in places]},
            hoverinfo="skip",
        )
    )
    figure = quiet(figure, colours, 150 + _CELL * len(classes))
    figure.update_xaxes(title="Decided", showgrid=False, color=colours.text, type="category")
    figure.update_yaxes(title="True", showgrid=False, color=colours.text, autorange="reversed", type="category")
    return figure


def ink(share: float, colours: Palette) -> str:
    """Black or white, whichever stands out more from the shade of ``share`` in [0, 1] (WCAG 2 contrast)."""
    return _contrast(_mixed(colours.ground, colours.accent, share))


def _mixed(ground: str, colour: str, share: float) -> tuple[float, float, float]:
    (r, g, b), (red, green, blue) = _rgb(ground), _rgb(colour)
    return r + share * (red - r), g + share * (green - g), b + share * (blue - b)


def _contrast(shade: tuple[float, float, float]) -> str:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shade]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
