"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from dashboard.figures.style import Figure, Palette, palette, quiet

_CELL = 46  # CSS pixels


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
    shade = [low + share * (high - low) for low, high in zip(_rgb(colours.ground), _rgb(colours.accent), strict=True)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shade]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue
