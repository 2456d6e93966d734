"""Lines over epochs and over strengths of corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from dashboard.figures.style import Figure, palette, quiet

_ACROSS = 3  # small multiples in a row


def history(
    epochs: Sequence[int], loss: Sequence[float], validation: Sequence[float], metric: str, dark: bool = False
) -> Figure:
    """Training loss and validation metric, side by side; the best epoch is marked."""
    colours = palette(dark)
    figure = make_subplots(rows=1, cols=2, subplot_titles=["Training loss", f"Validation: {metric}"])
    for column, values in enumerate((loss, validation), start=1):
        figure.add_trace(_line(epochs, values, colours.accent, "epoch %{x}<br>%{y:.4f}<extra></extra>"), 1, column)
    if validation:
        best = max(range(len(validation)), key=validation.__getitem__)
        figure.add_annotation(
            x=epochs[best], y=validation[best], row=1, col=2, text=f"best {validation[best]:.3f}, epoch {epochs[best]}",
            ay=30, ax=0, arrowcolor=colours.quiet,
        )  # fmt: skip
    figure = quiet(figure, colours, 280)
    figure.update_xaxes(title="Epoch")
    return figure


def robustness(
    values: Mapping[str, Sequence[tuple[int, float]]], metric: str, clean: float | None = None, dark: bool = False
) -> Figure:
    """One small panel for each corruption, all on one scale.

    Args:
        values: (strength, value) pairs by corruption, the weakest first.
        clean: the value on the same images without corruption, drawn as a broken line.
    """
    colours = palette(dark)
    rows = -(-len(values) // _ACROSS)
    figure = make_subplots(
        rows=rows, cols=_ACROSS, subplot_titles=list(values), shared_yaxes="all", vertical_spacing=0.3 / rows
    )
    for number, pairs in enumerate(values.values()):
        place = {"row": number // _ACROSS + 1, "col": number % _ACROSS + 1}
        strengths, heights = [strength for strength, _ in pairs], [value for _, value in pairs]
        figure.add_trace(_line(strengths, heights, colours.accent, "strength %{x}<br>%{y:.3f}<extra></extra>"), **place)
        if clean is not None:
            figure.add_hline(y=clean, line={"color": colours.quiet, "dash": "dash", "width": 1.5}, **place)
    figure = quiet(figure, colours, 40 + 210 * rows)
    figure.update_xaxes(tickvals=[1, 2, 3], ticktext=["mild", "2", "strong"], range=[0.8, 3.2])
    figure.update_yaxes(title=metric, col=1)
    return figure


def _line(x: Sequence[int], y: Sequence[float], colour: str, hover: str) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 7},
        hovertemplate=hover,
    )
