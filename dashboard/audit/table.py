"""The table that every audit starts from: scores and labels of n cases for K classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import DataError
from models.types import FloatArray, favoured

Task = Literal["binary", "multilabel", "multiclass"]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]
CASE, PATIENT, SPLIT = "case_id", "patient_id", "split"
FILE = "file"  # names the image of a case, relative to the images folder
RESERVED = (CASE, PATIENT, SPLIT, FILE)


@dataclass(frozen=True, eq=False)
class AuditTable:
    """Scores and labels, one row a case, already validated (:mod:`dashboard.audit.reading`).

    Attributes:
        title: for people.
        cases: n rows indexed 0 to n - 1: ``case_id`` (str, unique), where known ``patient_id``, ``split`` and ``file``
            (str), and attributes (text, or numbers such as age).
        labels: (n, K) float32, 0 or 1, NaN where unknown. With exclusive classes a row holds one 1, or is unknown.
        scores: (n, K) float32 probabilities in [0, 1].
        thresholds: K operating points, kept as float32 like the scores; with exclusive classes the class of the largest score / threshold is decided.
        model_id: the card these scores came from, "" where there is none.
        notes: what the reader should know of how the table was read.
        group_unit: what ``patient_id`` names, in the plural; some sets name lesions, or nothing better than blocks.
        leak: whether patients are in several splits, in a sentence; "" where the table does not tell.
    """

    title: str
    task: Task
    classes: tuple[str, ...]
    cases: pd.DataFrame
    labels: FloatArray
    scores: FloatArray
    thresholds: tuple[float, ...]
    model_id: str = ""
    notes: tuple[str, ...] = field(default=())
    leak: str = ""
    group_unit: str = "patients"

    def __post_init__(self) -> None:
        shape = (len(self.cases), len(self.classes))
        if self.labels.shape != shape or self.scores.shape != shape or len(self.thresholds) != len(self.classes):
            raise DataError(
                f"The table holds {self.labels.shape} labels, {self.scores.shape} scores and "
                f"{len(self.thresholds)} thresholds; expected {shape} of both and one threshold a class."
            )
        for array in (self.labels, self.scores):
            array.setflags(write=False)
        # A score that is written like the threshold is then equal to it.
        points = tuple(float(np.float32(value)) for value in self.thresholds)
        object.__setattr__(self, "thresholds", points)

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def exclusive(self) -> bool:
        return self.task == "multiclass"

    @cached_property
    def known(self) -> Mask:
        """(n, K) bool: the label is known."""
        return ~np.isnan(self.labels)

    @cached_property
    def positive(self) -> Mask:
        """(n, K) bool: the label is known and 1."""
        return self.labels == 1

    @cached_property
    def negative(self) -> Mask:
        """(n, K) bool: the label is known and 0."""
        return self.labels == 0

    @cached_property
    def decided(self) -> Mask:
        """(n, K) bool: called at the operating point; one class a row where classes are exclusive."""
        points = np.asarray(self.thresholds)
        if self.exclusive:
            return np.eye(len(self.classes), dtype=bool)[favoured(self.scores, points)]
        return np.asarray(self.scores >= points)

    @property
    def has_patients(self) -> bool:
        return PATIENT in self.cases

    @cached_property
    def groups(self) -> Rows:
        """(n,) number of the patient, 0 to P - 1; of the case where patients are unknown."""
        codes, _ = pd.factorize(self.cases[PATIENT if self.has_patients else CASE])
        return np.asarray(codes, dtype=np.intp)

    @property
    def patients(self) -> int:
        return int(self.groups.max()) + 1 if len(self) else 0

    @property
    def unit(self) -> str:
        """What intervals resample: ``group_unit``, or "cases" where patients are unknown."""
        return self.group_unit if self.has_patients else "cases"

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self.cases.columns if name not in RESERVED)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(sorted(self.cases[SPLIT].dropna().unique())) if SPLIT in self.cases else ()

    def column(self, name: str) -> int:
        """Index of a class. Raises DataError with the classes that there are."""
        if name not in self.classes:
            raise DataError(f"There is no class {name!r} in {self.title}; it has {', '.join(self.classes)}.")
        return self.classes.index(name)

    def part(self, mask: Mask) -> AuditTable:
        """The cases where the (n,) mask holds, renumbered."""
        chosen = self.cases.loc[mask].reset_index(drop=True)
        return replace(self, cases=chosen, labels=self.labels[mask], scores=self.scores[mask])

    def in_split(self, split: str) -> AuditTable:
        """The cases of one split. Raises DataError where there is none of that name."""
        if split not in self.splits:
            raise DataError(f"{self.title} has no split {split!r}; it has {', '.join(self.splits) or 'none'}.")
        return self.part((self.cases[SPLIT] == split).to_numpy(bool))

    def with_scores(self, scores: FloatArray) -> AuditTable:
        """The same cases with other probabilities, (n, K) in [0, 1]."""
        return replace(self, scores=np.asarray(scores, dtype=np.float32))

    def with_thresholds(self, thresholds: Sequence[float]) -> AuditTable:
        return replace(self, thresholds=tuple(float(value) for value in thresholds))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that a figure can depend on: equal for equal tables, whatever file they came from."""
        facts = [self.task, self.classes, self.thresholds, list(self.cases.columns)]
        found = hashlib.sha256(json.dumps(facts).encode())
        found.update(np.ascontiguousarray(self.labels).data)
        found.update(np.ascontiguousarray(self.scores).data)
        found.update(pd.util.hash_pandas_object(self.cases, index=False).to_numpy().tobytes())
        return found.hexdigest()
