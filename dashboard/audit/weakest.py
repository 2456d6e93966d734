"""The subgroup a model is worst in, over every attribute of the table."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.grouping import grouping
from dashboard.audit.subgroups import Group, by_group
from dashboard.audit.table import AuditTable
from models.errors import DataError


@dataclass(frozen=True, eq=False)
class Weakest:
    """The group whose AUROC is furthest below that of all other cases.

    Attributes:
        attribute: whose group it is.
        groups: how many groups, of all attributes, were compared.
    """

    attribute: str
    group: Group
    groups: int


def weakest(table: AuditTable, count: int = REPLICATES, seed: int = 0) -> Weakest | None:
    """The group with the largest shortfall of AUROC, mean of the classes that both it and the rest have cases for.

    The shortfall, not the AUROC: a group with cases of the hard classes alone has a low mean whoever is in it.
    Attributes with too many values to compare are passed over. None where no group can be compared.
    """
    everything = range(len(table.classes))
    found: list[tuple[float, str, int]] = []
    for attribute in table.attributes:
        try:
            result = by_group(table, grouping(table, attribute), everything, 0)
        except DataError:
            continue
        gaps = [(_gap(group), number) for number, group in enumerate(result.groups)]
        found += [(gap, attribute, number) for gap, number in gaps if gap is not None]
    if not found:
        return None
    _, attribute, number = min(found)
    result = by_group(table, grouping(table, attribute), everything, count, seed)
    return Weakest(attribute, result.groups[number], len(found))


def _gap(group: Group) -> float | None:
    return group.gaps["auroc"].estimate.value
