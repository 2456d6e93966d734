"""What all figures share: colours that hold on both backgrounds, quiet axes, no legend where words do."""

from __future__ import annotations

from dataclasses import dataclass

from plotly.graph_objects import Figure

__all__ = ["DARK", "LIGHT", "SERIES", "Figure", "Palette", "explorable", "palette", "quiet"]


@dataclass(frozen=True)
class Palette:
    """Colours of one theme (``.streamlit/config.toml``).

    Attributes:
        ground, accent: ends of a sequential scale.
        text, quiet, grid: words, secondary marks, lines to read values by.
    """

    ground: str
    accent: str
    text: str
    quiet: str
    grid: str


LIGHT = Palette("#ffffff", "#0b6e6e", "#1d2933", "#55636f", "#d9dee4")
# Okabe and Ito's colours, told apart with any colour vision and on both grounds, for series that need several.
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
DARK = Palette("#1b2229", "#4fb3ac", "#e3e8ec", "#a6b2bd", "#323c46")


def palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT


def quiet(figure: Figure, colours: Palette, height: int) -> Figure:
    """The common layout, ``height`` in CSS pixels; labels make their own room."""
    font = {"family": "Source Sans, sans-serif", "size": 14, "color": colours.text}
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 28, "b": 8},
        showlegend=False,
        plot_bgcolor="rgba(0,0,0,0)",
        paper_bgcolor="rgba(0,0,0,0)",
        font=font,
        dragmode=False,
    )
    axis = {"zeroline": False, "fixedrange": True, "automargin": True, "gridcolor": colours.grid}
    figure.update_xaxes(color=colours.quiet, title_font=font, **axis)
    figure.update_yaxes(color=colours.quiet, title_font=font, **axis)
    figure.update_annotations(font=font)
    return figure


def explorable(figure: Figure, colours: Palette, height: int) -> Figure:
    """As :func:`quiet`, with axes that can be zoomed and marks that can be clicked."""
    quiet(figure, colours, height)
    figure.update_layout(dragmode="zoom", hovermode="closest", clickmode="event+select")
    figure.update_xaxes(fixedrange=False)
    figure.update_yaxes(fixedrange=False)
    return figure
