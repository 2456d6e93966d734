"""Which items of two reporting guidelines an audit answers, and which it cannot.

TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378. CLAIM: Mongan et al. 2020, Radiology AI 2(2):e200029. Only items that
an evaluation of a finished model can speak to are listed; topics are named in our own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.audit.discrimination import Discrimination
from dashboard.audit.table import AuditTable
from models.card import ModelCard

NOT_AVAILABLE = "not available"


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes:
        number: as in the guideline.
        answer: a sentence, or "not available".
    """

    guideline: str
    number: str
    topic: str
    answer: str


def checklist(
    table: AuditTable, card: ModelCard | None, found: Discrimination, groups: Sequence[str]
) -> tuple[Item, ...]:
    """All items, in the order of the guidelines."""
    people = f"{table.patients:,} patients" if table.has_patients else "patients not named in the table"
    sizes = f"{len(table):,} cases, {people}; positives of each class in the figures"
    unknown = int((~table.known).sum())
    missing = f"{unknown:,} unknown labels, left out class by class" if unknown else "no label is missing"
    intervals = f"95 % intervals, {found.replicates:,} bootstrap replicates of {table.unit}, and DeLong for AUROC"
    by_group = f"performance and gaps by {', '.join(groups)}" if groups else NOT_AVAILABLE
    data = card.training.data if card is not None and card.training is not None else NOT_AVAILABLE
    recipe = (
        f"{card.architecture}, recipe {card.training.recipe}"
        if card is not None and card.training is not None and card.training.recipe
        else NOT_AVAILABLE
    )
    points = card.thresholds.source if card is not None else "thresholds of the table"
    limits = " ".join(card.limits) if card is not None and card.limits else NOT_AVAILABLE
    use = card.intended_use if card is not None else NOT_AVAILABLE
    leak = table.leak or NOT_AVAILABLE
    return (
        Item("TRIPOD+AI", "5a", "Source of the data", data),
        Item("TRIPOD+AI", "6", "Setting and eligibility of participants", NOT_AVAILABLE),
        Item("TRIPOD+AI", "8", "How the outcome was determined", NOT_AVAILABLE),
        Item("TRIPOD+AI", "10", "Sample size", sizes),
        Item("TRIPOD+AI", "11", "Missing data", missing),
        Item("TRIPOD+AI", "12", "Measures of performance and their uncertainty", intervals),
        Item("TRIPOD+AI", "13", "Class imbalance", "prevalence, and AUPRC beside it, for each class"),
        Item("TRIPOD+AI", "14", "Fairness", by_group),
        Item("TRIPOD+AI", "15", "Output and thresholds", points),
        Item("TRIPOD+AI", "16", "Differences between training and evaluation data", leak),
        Item("TRIPOD+AI", "17 to 19", "Ethics, funding, registration, public involvement", NOT_AVAILABLE),
        Item("TRIPOD+AI", "22", "Full specification of the model", recipe),
        Item("TRIPOD+AI", "23a", "Performance with intervals, by subgroup", intervals if groups else f"{intervals}; no subgroups given"),
        Item("TRIPOD+AI", "26", "Limitations", limits),
        Item("TRIPOD+AI", "27", "Intended use", use),
        Item("CLAIM", "12", "De-identification", NOT_AVAILABLE),
        Item("CLAIM", "14 to 18", "Reference standard, annotators and their agreement", NOT_AVAILABLE),
        Item("CLAIM", "20, 21", "Partitions and the level at which they are disjoint", leak),
        Item("CLAIM", "28, 29", "Metrics and statistical uncertainty", intervals),
        Item("CLAIM", "32", "External data", NOT_AVAILABLE),
        Item("CLAIM", "34", "Demographics of the cases", ", ".join(table.attributes) or NOT_AVAILABLE),
        Item("CLAIM", "36", "Accuracy and its precision", intervals),
        Item("CLAIM", "37", "Failure analysis", "cases ranked by confident error, by identifier"),
    )  # fmt: skip
