"""Where a lesion's measures lie among those of HAM10000, by class of lesion."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dashboard.quantify.dermoscopy import Abcd
from models.errors import DataError

FILE = Path("evaluation") / "abcd.json"
COUNTED = ("colours", "abrupt_sectors")  # whole numbers: their lesions are counted, not ranked
COMPARED = (
    "asymmetry",
    "asymmetry_better",
    "asymmetry_colour",
    "compactness",
    "solidity",
    "abrupt_sectors",
    "colours",
    "variegation",
)
LEVELS = np.linspace(0, 1, 41)
FEW = 20  # lesions below which a class has no range
Outline = Literal["reference", "model"]


class Range(BaseModel):
    """One measure of one class.

    Attributes:
        quantiles: at 0, 0.025 ... 1; empty for a counted measure.
        counts: lesions with the value 0, 1 ...; empty for any other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: int
    quantiles: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    def below(self, value: float) -> float:
        """Share of the lesions with a smaller value, [0, 1]."""
        if self.counts:
            return sum(self.counts[: int(value)]) / self.n
        place = bisect_left(self.quantiles, value)
        if place in (0, len(self.quantiles)):
            return float(place > 0)
        low, high = self.quantiles[place - 1 : place + 1]
        return float(np.interp(value, [low, high], LEVELS[place - 1 : place + 1]))

    @property
    def middle(self) -> tuple[float, float]:
        """Between which the middle 80 % of the lesions lie."""
        if self.counts:
            up_to = np.cumsum(self.counts) / self.n
            return float(np.argmax(up_to >= 0.1)), float(np.argmax(up_to >= 0.9))
        low, high = np.interp([0.1, 0.9], LEVELS, self.quantiles)
        return float(low), float(high)


class Ranges(BaseModel):
    """Of every measure by class of lesion, once for outlines drawn by people and once for those of the model.

    Attributes:
        made_of: in words.
        by: outline to class of lesion to measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    made_of: str
    by: dict[Outline, dict[str, dict[str, Range]]]

    def of(self, outline: Outline, lesion: str, measure: str) -> Range | None:
        """None where the class has too few lesions, or the measure is not compared."""
        found = self.by.get(outline, {}).get(lesion, {}).get(measure)
        return found if found is not None and found.n >= FEW else None


def range_of(measure: str, values: Iterable[float]) -> Range:
    """Of values that are there, at least one."""
    known = np.array(list(values), dtype=float)
    if measure in COUNTED:
        return Range(n=len(known), counts=tuple(int(count) for count in np.bincount(known.astype(int))))
    return Range(n=len(known), quantiles=tuple(float(f"{value:.4g}") for value in np.quantile(known, LEVELS)))


def read_ranges(folder: Path) -> Ranges | None:
    """Of a model folder; None where it has none. Raises DataError for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValidationError):
        raise DataError(
            f"{FILE.as_posix()} of model {folder.name} is damaged; make it again with benchmarks.abcd_ranges."
        ) from None


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> Ranges:
    """As the file was at that time; a page asks at each of its runs."""
    return Ranges.model_validate_json(path.read_bytes())


def shares_below(found: Abcd, ranges: Ranges, outline: Outline, lesion: str) -> Mapping[str, float]:
    """Share of a class's lesions with a smaller value, for every measure that can be compared."""
    known = {name: (found[name].value, ranges.of(outline, lesion, name)) for name in COMPARED}
    return {name: own.below(value) for name, (value, own) in known.items() if value is not None and own is not None}
