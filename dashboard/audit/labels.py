"""Labels as people write them, to 0, 1 and unknown; cells that are neither are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.audit.columns import plain_name

INVALID = np.inf  # stands for a cell that cannot be read, until validation names it
_WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("", "nan", "na", "n/a", "none", "null", "unknown", "uncertain", "-1", "-1.0"), np.nan),
}


def read_labels(values: pd.Series) -> NDArray[np.float64]:
    """(n,) 0, 1, NaN where unknown (empty, "unknown", or the -1 of some data sets), or INVALID."""
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        numbers = np.array(values.to_numpy(np.float64, na_value=np.nan))
        numbers[numbers == -1] = np.nan
        return numbers
    codes, found = pd.factorize(values)
    meaning = [_WORDS.get(str(value).strip().casefold(), INVALID) for value in found]
    return np.asarray([*meaning, np.nan])[codes]  # a missing cell has the code -1


def read_shared(values: pd.Series, classes: Sequence[str]) -> NDArray[np.float64]:
    """(n, K) for a column that holds the name, or the number from 0, of the one class that is true."""
    names = {plain_name(name): index for index, name in enumerate(classes)}
    numbers = {str(index): index for index in range(len(classes))}
    codes, found = pd.factorize(values)
    table = np.full((len(found) + 1, len(classes)), np.nan)  # the last row for missing cells
    for row, value in enumerate(found):
        text = str(value).strip()
        place = names.get(plain_name(text), numbers.get(text.removesuffix(".0")))
        table[row] = INVALID if place is None else np.eye(len(classes))[place]
    return table[codes]


def read_scores(values: pd.Series) -> NDArray[np.float64]:
    """(n,) numbers; NaN for what is none."""
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_numeric(values, errors="coerce")
    return np.array(values.to_numpy(np.float64, na_value=np.nan))


def read_text(values: pd.Series) -> pd.Series:
    """Names as text, missing ones as missing; whole numbers are written without a point."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    return values.astype(str).where(values.notna(), None)
