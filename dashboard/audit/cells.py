"""The cells of a table as numbers, and the one sentence that is said of the first wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import DataError

if TYPE_CHECKING:
    from pandera.errors import SchemaError

_ROUNDING = 1e-6  # by which float32 probabilities may pass 1


@dataclass(frozen=True, eq=False)
class Cells:
    """What is validated: a row of the reader's table each.

    Attributes:
        frame: columns ``case`` (text), ``label k`` and ``score k`` (float64), in the rows of ``source``.
        origin: name of a column of ``frame`` to the column of ``source`` that it was read from.
        source: the reader's table.
        title: of the table, for messages.
    """

    frame: pd.DataFrame
    origin: dict[str, str]
    source: pd.DataFrame
    title: str

    def values(self, kind: str) -> NDArray[np.float64]:
        """(rows, columns) of the kind "label" or "score"."""
        chosen = [name for name in self.frame if str(name).startswith(f"{kind} ")]
        return self.frame[chosen].to_numpy(np.float64)


def validate(cells: Cells, logits: bool) -> None:
    """Raises DataError naming the first wrong cell by row (from 1, without the header), column and value."""
    import pandera.pandas as pa  # a fifth of a second, which the Case page need not wait for

    score = pa.Check(lambda values: np.isfinite(values)) if logits else pa.Check.in_range(-_ROUNDING, 1 + _ROUNDING)
    schema = pa.DataFrameSchema(
        {
            "case": pa.Column(str, nullable=False),
            "label .*": pa.Column(float, pa.Check.isin([0.0, 1.0]), nullable=True, regex=True),
            "score .*": pa.Column(float, score, nullable=False, regex=True),
        }
    )
    try:
        schema.validate(cells.frame)
    except pa.errors.SchemaError as error:
        raise DataError(_sentence(cells, error, logits)) from None


def _sentence(cells: Cells, error: SchemaError, logits: bool) -> str:
    name = str(error.schema.name)
    failures = error.failure_cases
    row = int(failures["index"].iloc[0])
    column = cells.origin[name]
    value = cells.source[column].iloc[row]
    where = f"Row {row + 1:,} of {cells.title}: {column}"
    more = f" (and {len(failures) - 1:,} more rows)" if len(failures) > 1 else ""
    if name == "case":
        return f"{where} is empty{more}; every case needs a name."
    if name.startswith("label"):
        return (
            f"{where} holds {_shown(value)}{more}; a label is 0 or 1, yes or no, true or false (or a class, where one "
            "column serves all), and empty where unknown."
        )
    if pd.isna(value):
        return f"{where} is empty{more}; every case needs a score, so fill it in or leave the case out."
    if np.isnan(cells.frame[name].iloc[row]):
        return f"{where} holds {_shown(value)}{more}, which is not a number."
    if logits:
        return f"{where} holds {_shown(value)}{more}, which is not a finite number."
    return f"{where} holds {_shown(value)}{more}, and a probability lies between 0 and 1; {_advice(cells)}."


def _advice(cells: Cells) -> str:
    scores = cells.values("score")
    scores = scores[np.isfinite(scores)]
    if len(scores) and scores.min() >= 0 and 1 < scores.max() <= 100 and np.median(scores) > 1:
        return "these look like percentages, so divide them by 100"
    return "these look like logits: if so, turn on 'These scores are logits' (logits=True) to have them converted"


def _shown(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    text = str(value)
    return text if isinstance(value, int | np.integer) else repr(text[:40] + ("..." if len(text) > 40 else ""))
