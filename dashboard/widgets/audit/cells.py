"""Words and shapes of the grids of cells on the Audit page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.confusion import Shares
from dashboard.audit.pairs import Counts, Pairs, Values

Numbers = Values | Counts
HUNDREDS = {0.0: "0 %", 0.5: "50 %", 1.0: "100 %"}  # on the colour bar of shares


def choice(label: str, options: dict[str, str], key: str) -> str:
    """The key of one of the options; the first until another is chosen."""
    first = next(iter(options))
    chosen = st.segmented_control(label, list(options), default=first, format_func=options.__getitem__, key=key)
    return chosen or first


def each(shape: tuple[int, ...], word: Callable[[int, int], str]) -> list[list[str]]:
    """The word of every cell."""
    return [[word(row, column) for column in range(shape[1])] for row in range(shape[0])]


def counted(names: Sequence[str], counts: Counts, what: str = "") -> list[str]:
    """Names with their n; ``what`` follows it."""
    suffix = f" {what}" if what else ""
    return [f"{name}  (n = {count:,}{suffix})" for name, count in zip(names, counts, strict=True)]


def percent(value: float) -> str:
    """For a cell: short."""
    return "–" if np.isnan(value) else f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def share_text(part: Shares, *place: int) -> str:
    """With its interval."""
    if np.isnan(part.value[place]):
        return "no share"
    return f"{part.value[place]:.1%} ({part.low[place]:.1%} to {part.high[place]:.1%})"


def ends_text(pairs: Pairs, row: int, column: int, form: str = ".2f") -> str:
    """The interval in brackets, or nothing where there is none."""
    low, high = pairs.low[row, column], pairs.high[row, column]
    return "" if np.isnan(low) or np.isnan(high) else f" ({low:{form}} to {high:{form}})"


def share_columns(name: str, part: Shares) -> dict[str, Numbers]:
    """For the CSV."""
    return {name: part.value, f"{name}_low": part.low, f"{name}_high": part.high, f"{name}_n": part.total}


def pair_columns(name: str, pairs: Pairs) -> dict[str, Numbers]:
    """For the CSV."""
    return {name: pairs.value, f"{name}_low": pairs.low, f"{name}_high": pairs.high}


def long_frame(names: Sequence[str], parts: dict[str, Numbers], row: str, column: str) -> pd.DataFrame:
    """One line for each cell."""
    count = len(names)
    sides = {row: np.repeat(names, count), column: np.tile(names, count)}
    return pd.DataFrame(sides | {key: np.asarray(part).ravel() for key, part in parts.items()})
