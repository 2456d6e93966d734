"""For whom a model fails: every figure in every group, against the rest, with how often chance alone would say so.

A group is compared with all other cases, not with the whole table that it is part of; both sides come from the same
draws of patients. Underdiagnosis is the false-positive rate of "no finding" (Seyyed-Kalantari et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.bootstrap import REPLICATES, Draws
from dashboard.audit.calibration import chance_error
from dashboard.audit.gaps import BIASED as BIASED
from dashboard.audit.gaps import Gap, drawn_with_table, holm, measured_gap, missing
from dashboard.audit.grouping import Grouping
from dashboard.audit.intervals import FEW, Estimate, estimated
from dashboard.audit.resample import sums
from dashboard.audit.subgroup_replicates import FIGURES, Replicates, replicates
from dashboard.audit.table import AuditTable, Mask, Rows

TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "false_positive_rate": "False-positive rate",
    "ppv": "PPV",
    "ece": "Calibration error (ECE)",
    "miscalibration": "Mean score less observed rate",
    "prevalence": "Prevalence",
}
UNDERDIAGNOSIS = "underdiagnosis"
LOWER = ("false_positive_rate", "ece", UNDERDIAGNOSIS)  # the lower the better
_NONE = {"no finding", "no findings", "normal", "healthy", "negative", "no tumor", "no tumour", "none"}
_BASIS = {  # whose number limits a figure
    "auroc": "either",
    "auprc": "either",
    "sensitivity": "positive",
    "specificity": "negative",
    "false_positive_rate": "negative",
    "ppv": "called",
}


@dataclass(frozen=True, eq=False)
class Group:
    """One group.

    Attributes:
        rows: its cases, numbers of rows of the table; with a known label where one finding is asked for.
        n, patients: of these. positives: cases with the finding (any of several).
        values, gaps: by the names of :data:`TITLES`; none is left out, its note says why it is not estimated.
    """

    label: str
    rows: Rows
    n: int
    patients: int
    positives: int
    values: Mapping[str, Estimate]
    gaps: Mapping[str, Gap]


@dataclass(frozen=True, eq=False)
class Subgroups:
    """All groups of one attribute.

    Attributes:
        findings: indices of the classes; the figures are the mean over them.
    """

    grouping: Grouping
    findings: tuple[int, ...]
    groups: tuple[Group, ...]

    def comparisons(self, figure: str) -> int:
        """How many different gaps were tested: two groups that share out all cases differ in one way."""
        tested = sum(group.gaps[figure].p is not None for group in self.groups)
        return 1 if tested == 2 and sum(group.n > 0 for group in self.groups) == 2 else tested

    def worst(self, figure: str = "auroc") -> Group | None:
        """The group with the lowest value, or the highest where that is worse; None where no group has one."""
        sign = -1 if figure in LOWER else 1
        known = [group for group in self.groups if group.values[figure].value is not None]
        return min(known, key=lambda group: sign * (group.values[figure].value or 0.0), default=None)


def by_group(
    table: AuditTable,
    grouping: Grouping,
    findings: Sequence[int],
    count: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Subgroups:
    """Figures of every group; over several findings the mean of those that can be estimated there.

    Args:
        findings: indices of classes.
        count: bootstrap replicates; 0 gives values without intervals, faster.
        progress: told the share done, 0 to 1, after each class.
    """
    drawn, sides = drawn_with_table(table.groups, count, seed), []
    for done, finding in enumerate(findings, start=1):
        sides.append(_side(table, grouping, finding, drawn))
        progress(done / len(findings))
    return _summary(table, grouping, tuple(findings), sides)


def each_finding(
    table: AuditTable,
    grouping: Grouping,
    count: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Subgroups, ...]:
    """One for each class, and last the mean over all; Holm's adjustment of the former is over all classes at once."""
    drawn, sides = drawn_with_table(table.groups, count, seed), []
    for finding in range(len(table.classes)):
        sides.append(_side(table, grouping, finding, drawn))
        progress((finding + 1) / len(table.classes))
    single = [_summary(table, grouping, (finding,), [side]) for finding, side in enumerate(sides)]
    everything = _summary(table, grouping, tuple(range(len(sides))), sides)
    adjusted = {
        figure: iter(holm([group.gaps[figure].p for one in single for group in one.groups], _mirrored(everything)))
        for figure in TITLES
    }
    single = [
        replace(
            one,
            groups=tuple(
                replace(group, gaps={f: replace(gap, adjusted=next(adjusted[f])) for f, gap in group.gaps.items()})
                for group in one.groups
            ),
        )
        for one in single
    ]
    return (*single, everything)


def underdiagnosis(table: AuditTable, grouping: Grouping, count: int = REPLICATES, seed: int = 0) -> Subgroups | None:
    """Share of cases with any true finding for which none is called, in every group.

    A class that is called "no finding", "normal" or the like is no finding. None where classes exclude each other and
    none of them says so: then something is always called.
    """
    findings = [k for k, name in enumerate(table.classes) if name.replace("_", " ").strip().casefold() not in _NONE]
    if not findings or (table.exclusive and len(findings) == len(table.classes)):
        return None
    ill, missed = missed_entirely(table, findings)
    drawn = drawn_with_table(table.groups, count, seed)
    size = len(grouping.labels)
    among = sums(grouping.member[ill], size, table.groups[ill], drawn)
    hits = sums(grouping.member[missed], size, table.groups[missed], drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        own, rest = hits / among, (hits.sum(0) - hits) / (among.sum(0) - among)
    people = _both(table, grouping, ill, True)
    groups = []
    for g, label in enumerate(grouping.labels):
        rows = np.flatnonzero(ill & (grouping.member == g))
        n, words = len(rows), f"{table.unit} with a finding"
        value, gap = _scarce(n, words, people[g, :1])
        if people[g, 0] >= FEW:
            value = estimated(UNDERDIAGNOSIS, own[g], n, int(people[g, 0]))
            gap = _scarce(n, f"{words} in the rest", people[g, 1:])[1]
        if people[g].min() >= FEW:
            gap = measured_gap(UNDERDIAGNOSIS, own[g] - rest[g], n)
        groups.append(Group(label, rows, n, int(people[g, 0]), n, {UNDERDIAGNOSIS: value}, {UNDERDIAGNOSIS: gap}))
    return _adjusted(Subgroups(grouping, tuple(findings), tuple(groups)), [UNDERDIAGNOSIS])


def missed_entirely(table: AuditTable, findings: Sequence[int]) -> tuple[Mask, Mask]:
    """(n,) any of the findings is true; (n,) and none of them is called."""
    chosen = list(findings)
    ill: Mask = np.any(table.positive[:, chosen], axis=1)
    called: Mask = np.any(table.decided[:, chosen], axis=1)
    return ill, ill & ~called


def errors_first(table: AuditTable, rows: Rows, findings: Sequence[int]) -> Rows:
    """The same rows: those wrong about the most findings first, then by how far the scores are off in sum."""
    chosen = list(findings)
    known, positive = table.known[rows][:, chosen], table.positive[rows][:, chosen]
    wrong = (known & (table.decided[rows][:, chosen] != positive)).sum(1)
    off = np.where(known, np.abs(table.scores[rows][:, chosen] - positive), 0).sum(1)
    return rows[np.lexsort((-off, -wrong))]


@dataclass(frozen=True, eq=False)
class _Side:
    """One class: replicates, by basis the (groups, 2) number of patients and of cases behind them, and by group what
    calibration error chance alone would give."""

    found: Replicates
    people: Mapping[str, NDArray[np.int64]]
    cases: Mapping[str, NDArray[np.int64]]
    chance: tuple[float, ...]


def _side(table: AuditTable, grouping: Grouping, finding: int, drawn: Draws) -> _Side:
    known, positive = table.known[:, finding], table.positive[:, finding]
    found = replicates(table, finding, grouping.member, len(grouping.labels), drawn)
    bases = {
        "all": known,
        "positive": positive,
        "negative": known & ~positive,
        "called": known & table.decided[:, finding],
    }
    people = {name: _both(table, grouping, mask, True) for name, mask in bases.items()}
    cases = {name: _both(table, grouping, mask, False) for name, mask in bases.items()}
    people["either"] = np.minimum(people["positive"], people["negative"])
    chance = tuple(
        chance_error(table.scores[known & (grouping.member == g), finding]) for g in range(len(grouping.labels))
    )
    return _Side(found, people, cases | {"either": cases["all"]}, chance)


def _both(table: AuditTable, grouping: Grouping, mask: Mask, people: bool) -> NDArray[np.int64]:
    """(groups, 2) patients or cases of the mask in each group and in its rest."""
    size, member, patient = len(grouping.labels), grouping.member[mask], table.groups[mask]
    if not people:
        own = np.bincount(member, minlength=size)
        return np.stack([own, own.sum() - own], axis=1)
    pairs = np.unique(member * (table.patients + 1) + patient)
    own = np.bincount(pairs // (table.patients + 1), minlength=size)
    # A patient is in the rest of every group unless all cases are in one: age and view change between images.
    spread = np.bincount(pairs % (table.patients + 1), minlength=table.patients)
    alone = np.bincount((pairs // (table.patients + 1))[spread[pairs % (table.patients + 1)] == 1], minlength=size)
    return np.stack([own, int((spread > 0).sum()) - alone], axis=1)


def _summary(table: AuditTable, grouping: Grouping, findings: tuple[int, ...], sides: Sequence[_Side]) -> Subgroups:
    groups = []
    known: Mask = np.any(table.known[:, list(findings)], axis=1)
    positive: Mask = np.any(table.positive[:, list(findings)], axis=1)
    for g, label in enumerate(grouping.labels):
        rows = np.flatnonzero(known & (grouping.member == g))
        found = {figure: _figure(figure, sides, g, len(rows), table.unit) for figure in FIGURES}
        values, gaps = ({f: one for f, (one, _) in found.items()}, {f: gap for f, (_, gap) in found.items()})
        people = len(np.unique(table.groups[rows]))
        groups.append(Group(label, rows, len(rows), people, int(positive[rows].sum()), values, gaps))
    return _adjusted(Subgroups(grouping, findings, tuple(groups)), FIGURES)


def _figure(figure: str, sides: Sequence[_Side], g: int, n: int, unit: str) -> tuple[Estimate, Gap]:
    """The mean over the classes that can be estimated in the group; its gap over those that can in the rest too."""
    basis = _BASIS.get(figure, "all")
    people = np.array([side.people[basis][g] for side in sides]).reshape(-1, 2)
    found = [side.found[figure][g] for side in sides]
    note = ""
    if len(sides) == 1:
        n = int(sides[0].cases[basis][g, 0])
    own, rest = people[:, 0] >= FEW, people[:, 1] >= FEW
    if len(sides) > 1:
        note = f"mean of {own.sum()} of {len(sides)} findings"
    if not own.any():
        return _scarce(n, _words(basis, sides, g, 0, unit), people[:, 0])
    mean = np.mean([f[0] for f, use in zip(found, own, strict=True) if use], axis=0)
    chance = float(np.mean([side.chance[g] for side, use in zip(sides, own, strict=True) if use]))
    value = estimated(figure, mean, n, int(people[own, 0].min()), note, chance)
    if not (own & rest).any():
        return value, _scarce(n, f"{_words(basis, sides, g, 1, unit)} in the rest", people[own, 1])[1]
    gap = np.mean([f[0] - f[1] for f, use in zip(found, own & rest, strict=True) if use], axis=0)
    if len(sides) > 1:
        note = f"mean of {(own & rest).sum()} of {len(sides)} findings"
    return value, measured_gap(figure, gap, n, note)


def _words(basis: str, sides: Sequence[_Side], g: int, k: int, unit: str) -> str:
    """Whose number limits a figure: "positive patients"."""
    if basis == "either":
        side = max(sides, key=lambda one: one.people["either"][g, k], default=None)
        scarce = side is None or side.people["positive"][g, k] <= side.people["negative"][g, k]
        basis = "positive" if scarce else "negative"
    return unit if basis == "all" else f"{basis} {unit}"


def _scarce(n: int, words: str, people: NDArray[np.int64]) -> tuple[Estimate, Gap]:
    nothing = missing(n, f"too few {words} (n={people.max(initial=0)})")
    return nothing, Gap(nothing)


def _mirrored(result: Subgroups) -> bool:
    return sum(group.n > 0 for group in result.groups) == 2


def _adjusted(result: Subgroups, figures: Sequence[str]) -> Subgroups:
    by_figure = {
        figure: holm([group.gaps[figure].p for group in result.groups], _mirrored(result)) for figure in figures
    }
    groups = tuple(
        replace(
            group,
            gaps={f: replace(group.gaps[f], adjusted=by_figure[f][place]) for f in figures},
        )
        for place, group in enumerate(result.groups)
    )
    return replace(result, groups=groups)
