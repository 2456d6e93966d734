"""Groups of cases out of one attribute of an audit table, or of two crossed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.audit.table import AuditTable
from models.errors import DataError

MOST = 60  # groups that can still be read
UNKNOWN = "not recorded"
_DECADES = (*range(10, 91, 10), 120)  # years; past 120 is an error of entry and stands apart
_FEW_NUMBERS = 6  # up to so many different numbers are names (0 and 1, a grade), not a quantity


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group each case is in.

    Attributes:
        name: of the attribute, for people.
        labels: of the G groups, no two the same, in the order to show; a group may be empty.
        member: (n,) number of the group, 0 to G - 1.
        sides: labels of the first and of the second attribute where two are crossed; group a * len(second) + b.
    """

    name: str
    labels: tuple[str, ...]
    member: NDArray[np.intp]
    sides: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    @property
    def sizes(self) -> tuple[int, int] | None:
        """How many groups the first and the second attribute have, where two are crossed."""
        return None if self.sides is None else (len(self.sides[0]), len(self.sides[1]))


def grouping(table: AuditTable, attribute: str, edges: Sequence[float] | None = None) -> Grouping:
    """Groups by one attribute: its values, or ranges where it is a quantity; cases without a value are a group too.

    Args:
        edges: rising ends of the ranges [a, b), open at both sides. If not given: decades for age, else quartiles.

    Raises:
        DataError: there is no such attribute, it has more values than can be compared, or the edges do not rise.
    """
    if attribute not in table.attributes:
        raise DataError(
            f"{table.title} has no column {attribute!r} to group by; it has {', '.join(table.attributes) or 'none'}."
        )
    values = table.cases[attribute]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        finite = np.isfinite(numbers)
        different = np.unique(numbers[finite])
        if edges is not None or len(different) > _FEW_NUMBERS:
            return _ranges(attribute, numbers, finite, edges)
        values = values.map(dict(zip(different, _written(different), strict=True)))
    text = values.astype("string").str.strip()
    text = text.mask(text.isin(["", UNKNOWN]))
    codes, names = pd.factorize(text, sort=True)
    if len(names) > MOST:
        raise DataError(
            f"Column {attribute!r} has {len(names):,} different values, too many to compare (at most {MOST}); "
            "choose a column with fewer."
        )
    return _with_unknown(attribute, [str(name) for name in names], np.asarray(codes, dtype=np.intp))


def crossed(first: Grouping, second: Grouping) -> Grouping:
    """Every pair of groups, empty ones too. Raises DataError where that is more than can be compared."""
    count = len(first.labels) * len(second.labels)
    name = f"{first.name} and {second.name}"
    if count > MOST:
        raise DataError(f"{name} cross to {count} groups, too many to compare (at most {MOST}); choose wider ranges.")
    labels = tuple(f"{a} · {b}" for a in first.labels for b in second.labels)
    member = first.member * len(second.labels) + second.member
    return Grouping(name, labels, member, (first.labels, second.labels))


def _ranges(
    attribute: str, numbers: NDArray[np.float64], finite: NDArray[np.bool_], edges: Sequence[float] | None
) -> Grouping:
    if edges is not None:
        ends = np.asarray(edges, dtype=np.float64)
        if not len(ends) or not np.isfinite(ends).all() or (np.diff(ends) <= 0).any():
            raise DataError(f"The ends of the ranges of {attribute!r} must be rising numbers, for example 40, 65.")
    elif "age" in attribute.casefold().replace("_", " ").split():
        ends = np.asarray(_DECADES, dtype=np.float64)
    else:
        ends = np.unique(np.quantile(numbers[finite], (0.25, 0.5, 0.75)))
    codes = np.where(finite, np.searchsorted(ends, numbers, side="right"), -1)
    whole = bool((numbers[finite] % 1 == 0).all() and (ends % 1 == 0).all())
    texts = _written(ends)
    upper = [str(int(end) - 1) for end in ends] if whole else [f"under {text}" for text in texts]
    middle = [low if low == high else f"{low} to {high}" for low, high in zip(texts, upper[1:], strict=False)]
    labels = [f"under {texts[0]}", *middle, f"{texts[-1]} and over"]
    if edges is None:  # ranges of our own choice that hold no case say nothing
        held = np.unique(codes[finite])
        labels, codes = [labels[code] for code in held], np.where(finite, np.searchsorted(held, codes), -1)
    return _with_unknown(attribute, labels, codes.astype(np.intp))


def _written(numbers: NDArray[np.float64]) -> list[str]:
    """Different numbers in as few digits, at least six, as keep them apart; whole ones without a point."""
    for digits in range(6, 18):
        texts = [str(int(number)) if number % 1 == 0 else f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(texts):
            break
    return texts


def _with_unknown(attribute: str, labels: list[str], codes: NDArray[np.intp]) -> Grouping:
    missing = codes < 0
    if missing.any():
        codes, labels = np.where(missing, len(labels), codes), [*labels, UNKNOWN]
    return Grouping(attribute, tuple(labels), codes)
