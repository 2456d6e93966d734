"""What a comparison of maps between groups came to, as stored beside a card."""

from __future__ import annotations

from dashboard.audit.intervals import Estimate
from dashboard.hunting.stored import Result, Table, read_result
from models.card import ModelCard

FILE = "evaluation/drift.json"
CELLS = 16  # of a mean map along each side
SCALE = 100_000  # mean maps are stored as whole numbers of this part of the map
SURE = 0.05


class PartShares(Table):
    """Mean share of the map on one part of the picture: of the group, of the others, and the difference of the two."""

    name: str
    group: Estimate
    others: Estimate
    difference: Estimate


class Comparison(Table):
    """One group against all others.

    Attributes:
        n, others: cases compared, one a patient.
        distance: share of the mean map that lies in other places, [0, 1]; ``chance`` is its mean and ``chance_high`` its
            95th percentile where groups are drawn by lot.
        p, adjusted: of the permutation test, and corrected for all tests of the model.
        moved: how far the centre of the map moves, in % of the picture's width (to the right) and height (down).
        group_map, others_map: mean maps, row by row, in 1/100,000 of the map.
    """

    finding: str
    attribute: str
    group: str
    n: int
    others: int
    distance: float
    chance: float
    chance_high: float
    p: float
    adjusted: float = 1.0
    moved: tuple[float, float]
    group_map: tuple[int, ...]
    others_map: tuple[int, ...]
    parts: tuple[PartShares, ...] = ()

    @property
    def sure(self) -> bool:
        return self.adjusted < SURE

    @property
    def words(self) -> str:
        """For people."""
        said = "sit elsewhere than" if self.sure else "are not shown to sit elsewhere than"
        return (
            f"Maps for {self.finding} with {self.attribute} {self.group} (n = {self.n}) {said} those of the others "
            f"(n = {self.others}): {self.distance:.0%} of the map lies in other places, {self.chance:.0%} by chance "
            f"(p = {self.p:.2g}, corrected {self.adjusted:.2g})."
        )


class NotCompared(Table):
    """A group that nothing can be said of, and why."""

    finding: str
    attribute: str
    group: str
    n: int
    why: str


class Drift(Result):
    """All comparisons, the surest first.

    Attributes:
        part: which cases they are, in words.
        cases: whose maps were made; ``unread`` could not be read.
        cells: of a mean map along each side.
    """

    part: str
    method: str
    seed: int
    cases: int
    unread: int = 0
    cells: int = CELLS
    comparisons: tuple[Comparison, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()


def stored_drift(card: ModelCard) -> Drift | None:
    """What was measured on these weights; None where nothing is stored."""
    return read_result(card, FILE, Drift)
