"""What a measurement of robustness came to, as stored beside a card."""

from __future__ import annotations

from typing import Literal

from dashboard.audit.intervals import Estimate
from dashboard.hunting.stored import Result, Table, read_result
from models.card import ModelCard

FILE = "evaluation/robustness.json"
FIGURES: tuple[Literal["sensitivity", "specificity"], ...] = ("sensitivity", "specificity")


class Point(Table):
    """A class at one strength.

    Attributes:
        sensitivity, specificity: at the operating point.
        sensitivity_change, specificity_change: against the same pictures unchanged, case by case.
        drift: mean rank correlation of the map with that of the unchanged picture, of cases called for the class both
            times; 1 is the same map.
    """

    strength: int
    sensitivity: Estimate
    specificity: Estimate
    auroc: Estimate
    sensitivity_change: Estimate
    specificity_change: Estimate
    drift: Estimate


class Curves(Table):
    """One corruption.

    Attributes:
        amounts: of strengths 1 to 4, in words.
        classes: by name, one point a strength.
        drift: of all classes together, by strength.
    """

    id: str
    title: str
    about: str
    amounts: tuple[str, ...]
    classes: dict[str, tuple[Point, ...]]
    drift: tuple[Estimate, ...]


class Robustness(Result):
    """All corruptions.

    Attributes:
        cases, patients: behind it; ``unit`` is what ``patients`` counts.
        unread: cases whose picture could not be read.
        part: which cases they are, in words.
        method: of the maps.
        clean: the points of the unchanged pictures, by class.
    """

    part: str
    method: str
    seed: int
    cases: int
    patients: int
    unit: str
    unread: int = 0
    clean: dict[str, Point]
    corruptions: tuple[Curves, ...]


class Loss(Table):
    """A class that loses sensitivity or specificity for sure under a corruption: from which strength on, how much there."""

    finding: str
    figure: Literal["sensitivity", "specificity"]
    corruption: str
    amount: str
    strength: int
    before: Estimate
    after: Estimate
    change: Estimate

    @property
    def words(self) -> str:
        """For people."""
        acronym = self.corruption[1:2].isupper()
        name = self.corruption if acronym else f"{self.corruption[:1].lower()}{self.corruption[1:]}"
        return (
            f"{self.finding}: {self.figure} {self.before.rounded(2)} becomes {self.after.rounded(2)} with "
            f"{name}, {self.amount} (change {self.change.rounded(2)}, "
            f"n = {self.change.n})"
        )


def stored_robustness(card: ModelCard) -> Robustness | None:
    """What was measured on these weights; None where nothing is stored."""
    return read_result(card, FILE, Robustness)


def losses(result: Robustness) -> list[Loss]:
    """Classes and corruptions with a sure loss, those at the mildest strength first, and of these the largest.

    Sure is each by itself: of many, some will be by chance.
    """
    found = []
    for curves in result.corruptions:
        for finding, points in curves.classes.items():
            clean = result.clean[finding]
            for figure in FIGURES:
                point = next((one for one in points if _sure(getattr(one, f"{figure}_change"))), None)
                if point is not None:
                    found.append(
                        Loss(
                            finding=finding,
                            figure=figure,
                            corruption=curves.title,
                            amount=curves.amounts[point.strength - 1],
                            strength=point.strength,
                            before=getattr(clean, figure),
                            after=getattr(point, figure),
                            change=getattr(point, f"{figure}_change"),
                        )
                    )
    return sorted(found, key=lambda one: (one.strength, one.change.value or 0.0))


def _sure(change: Estimate) -> bool:
    """Below 0 with its whole interval; a change of every single case has none."""
    return change.value == -1.0 or (change.high is not None and change.high < 0)
