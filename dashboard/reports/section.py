"""The parts that a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dashboard.audit.table import AuditTable
from dashboard.figures.page import embed
from dashboard.figures.style import Figure

MOST_CLASSES = 14  # drawn one by one


@dataclass(frozen=True)
class Drawn:
    """A figure as HTML, and what is written over it."""

    html: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A heading with what stands below it: sentences, figures, tables.

    Attributes:
        small: the figures stand side by side, one a class.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Drawn, ...] = ()
    tables: tuple[pd.DataFrame, ...] = ()
    small: bool = False


def drawn(figure: Figure, caption: str = "", height: int | None = None) -> Drawn:
    """The figure for a page, ``height`` in CSS pixels where it is not its own."""
    if height is not None:
        figure.update_layout(height=height)
    return Drawn(embed(figure), caption)


def shown_classes(table: AuditTable) -> tuple[Sequence[int], tuple[str, ...]]:
    """Numbers of the classes to draw one by one, those of most positives, and a sentence where some are left out."""
    count = len(table.classes)
    if count <= MOST_CLASSES:
        return range(count), ()
    most = table.positive.sum(0).argsort(kind="stable")[::-1][:MOST_CLASSES]
    return sorted(most.tolist()), (f"The {MOST_CLASSES} classes of most positives, of {count}.",)
