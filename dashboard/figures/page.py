"""Figures in a page that stands alone: no network, still interactive."""

from __future__ import annotations

from plotly.offline import get_plotlyjs

from dashboard.figures.style import Figure


def script() -> str:
    """The drawing library itself (about 4.5 MB), to be put once into a ``<script>``."""
    return str(get_plotlyjs())


def embed(figure: Figure) -> str:
    """The figure as an HTML fragment that needs :func:`script` on its page."""
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))
