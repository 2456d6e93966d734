"""The cases of a table whose images are at hand: what every hunt goes through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dashboard.audit.table import CASE, AuditTable, Mask, Rows
from dashboard.cases import as_read_by, middle_slice
from dashboard.images import ImageFolder
from models.card import ModelCard
from models.errors import DataError
from models.types import Image


@dataclass(frozen=True, eq=False)
class Cohort:
    """Scored and labelled cases of one model, and their images.

    Attributes:
        table: all cases.
        rows: those taken, numbers of rows of the table.
    """

    table: AuditTable
    folder: ImageFolder
    card: ModelCard
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, number: int) -> str:
        """Case id."""
        return str(self.table.cases.iloc[self.rows[number]][CASE])

    def image(self, number: int) -> Image:
        """The plane of case ``number`` of ``rows`` that the network scored, as the model takes it.

        Raises:
            DataError: it cannot be read.
        """
        only = self.card.input.modality[0] if len(self.card.input.modality) == 1 else None
        image = as_read_by(self.folder.case(self.table, int(self.rows[number]), only).image, self.card)
        return image.slice(middle_slice(image)) if image.is_volume else image

    def drawn(self, most: int, seed: int = 0) -> Cohort:
        """At most so many of the cases, at random."""
        if len(self) <= most:
            return self
        chosen = np.random.default_rng(seed).choice(self.rows, most, replace=False)
        return replace(self, rows=np.sort(chosen))


def cohort(
    table: AuditTable,
    folder: ImageFolder,
    card: ModelCard,
    within: Mask | None = None,
    most: int | None = None,
    seed: int = 0,
) -> Cohort:
    """The cases whose image is in the folder, in the table's order.

    Args:
        within: (n,) cases that may be taken; all if not given.
        most: as many are drawn at random where there are more.

    Raises:
        DataError: none of the images is there.
    """
    allowed = np.flatnonzero(np.ones(len(table), dtype=bool) if within is None else within)
    order = allowed
    if most is not None and len(allowed) > most:
        order = np.random.default_rng(seed).permutation(allowed)
    found: list[int] = []
    for row in order:
        if most is not None and len(found) == most:
            break
        if folder.find(table.cases, int(row)) is not None:
            found.append(int(row))
    if not found:
        raise DataError(
            f"None of the {len(allowed):,} cases has an image in the folder; choose the folder whose files are named "
            "like the cases."
        )
    return Cohort(table, folder, card, np.sort(np.asarray(found, dtype=np.intp)))
