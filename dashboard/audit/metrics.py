"""Every figure of an audit in one record, as it is written to ``metrics.json`` (schema: docs/audit.md)."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

import numpy as np
from pydantic import BaseModel, ConfigDict

from dashboard.audit import confusion
from dashboard.audit.bootstrap import REPLICATES
from dashboard.audit.delong import auroc_interval
from dashboard.audit.discrimination import ClassFigures, Discrimination, discrimination
from dashboard.audit.grouping import grouping
from dashboard.audit.intervals import FEW, Estimate
from dashboard.audit.subgroups import Subgroups, each_finding, underdiagnosis
from dashboard.audit.table import AuditTable
from dashboard.audit.weakest import weakest

SCHEMA = 1
Ends = tuple[float, float] | None
Figures = dict[str, float | Ends | int | str | None]
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "numba")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ConfusionRecord(_Record):
    """Counts: with exclusive classes (K, K), rows true and columns decided; else (K, 2, 2), present and called first."""

    classes: tuple[str, ...]
    counts: list[list[int]] | list[list[list[int]]]


class WeakestRecord(_Record):
    """The group furthest below all other cases in AUROC (:mod:`dashboard.audit.weakest`).

    Attributes:
        auroc_gap, auroc_gap_ci: to all other cases, mean of the classes.
        groups: how many, of every attribute of the table, were compared.
    """

    attribute: str
    group: str
    auroc_gap: float | None
    auroc_gap_ci: Ends
    groups: int


class AuditMetrics(_Record):
    """The record.

    Attributes:
        splits: parts of the data that the cases come from; none where the table does not say.
        table_sha256: digest of scores, labels, thresholds and case facts; equal for equal tables.
        resampled: what bootstrap replicates draw, "patients" or "cases".
        classes, averages, subgroups: a figure under its name, its 95 % interval under ``<name>_ci``; None where it was
            not estimated; ``<name>_note`` says why, or what is special about the value or its interval.
            ``<name>_chance`` is what chance alone would give of a calibration error.
    """

    schema_version: int = SCHEMA
    title: str
    model_id: str
    task: str
    table_sha256: str
    n: int
    patients: int | None
    unknown_labels: int
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    resampled: str
    replicates: int
    seed: int
    versions: dict[str, str]
    classes: dict[str, Figures]
    averages: dict[str, Figures]
    averaged_classes: tuple[str, ...]
    macro: Figures
    confusion: ConfusionRecord
    subgroups: dict[str, dict[str, dict[str, Figures]]]
    worst_class: str | None
    worst_subgroup: str | None
    weakest: WeakestRecord | None


def collect(
    table: AuditTable,
    groups: Sequence[str] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[AuditMetrics, Discrimination, dict[str, tuple[Subgroups, ...]]]:
    """The record, and the results it was made of.

    Args:
        groups: attributes to report by. Raises DataError for one that the table does not have.
        progress: told the share done, 0 to 1.
    """
    kinds = {name: grouping(table, name) for name in groups}  # first, so that a wrong name costs nothing
    found = discrimination(table, replicates, seed)
    progress(1 / (1 + len(kinds)))
    parted: dict[str, tuple[Subgroups, ...]] = {}
    for name, kind in kinds.items():
        parted[name] = each_finding(table, kind, replicates, seed)
        progress((1 + len(parted)) / (1 + len(kinds)))
    missed = {name: underdiagnosis(table, kind, replicates, seed) for name, kind in kinds.items()}
    worst, least = found.worst, _weakest(table, replicates, seed)
    record = AuditMetrics(
        title=table.title,
        model_id=table.model_id,
        task=table.task,
        table_sha256=table.digest,
        n=len(table),
        patients=table.patients if table.has_patients else None,
        unknown_labels=int((~table.known).sum()),
        splits=table.splits,
        notes=table.notes,
        resampled=table.unit,
        replicates=replicates,
        seed=seed,
        versions={"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES},
        classes={one.name: _of_class(table, k, one) for k, one in enumerate(found.classes)},
        averages={kind: _flat(figures) for kind, figures in found.averages.items()},
        averaged_classes=found.averaged,
        macro=_flat(found.averages.get("macro", {})),
        confusion=_confusion(table),
        subgroups={name: _of_groups(table, parts, missed[name]) for name, parts in parted.items()},
        worst_class=worst.name if worst is not None and len(found.classes) > 1 else None,
        worst_subgroup=None if least is None else f"{least.attribute}: {least.group}",
        weakest=least,
    )
    return record, found, parted


def _weakest(table: AuditTable, replicates: int, seed: int) -> WeakestRecord | None:
    found = weakest(table, replicates, seed)
    if found is None:
        return None
    gap = found.group.gaps["auroc"].estimate
    ends = None if gap.low is None or gap.high is None else (gap.low, gap.high)
    return WeakestRecord(
        attribute=found.attribute, group=found.group.label, auroc_gap=gap.value, auroc_gap_ci=ends, groups=found.groups
    )


def _of_class(table: AuditTable, k: int, one: ClassFigures) -> Figures:
    known = table.known[:, k]
    flat = _flat(one.figures)
    if min(one.positives, one.n - one.positives) >= FEW:
        _, low, high, _ = auroc_interval(table.positive[known, k], table.scores[known, k])
        flat["auroc_ci_delong"] = None if np.isnan(low) else (low, high)
    return flat | {
        "n": one.n,
        "n_positive": one.positives,
        "patients": one.patients,
        "prevalence": one.prevalence,
        "threshold": one.threshold,
    }


def _flat(figures: Mapping[str, Estimate]) -> Figures:
    flat: Figures = {}
    for name, estimate in figures.items():
        flat[name] = estimate.value
        flat[f"{name}_ci"] = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
        if estimate.chance is not None:
            flat[f"{name}_chance"] = estimate.chance
        if estimate.note:
            flat[f"{name}_note"] = estimate.note
    return flat


def _of_groups(
    table: AuditTable, parts: tuple[Subgroups, ...], missed: Subgroups | None
) -> dict[str, dict[str, Figures]]:
    """Group, then class ("all classes" last), then figures and gaps to the rest."""
    found: dict[str, dict[str, Figures]] = {}
    for place, group in enumerate(parts[-1].groups):
        of_class: dict[str, Figures] = {}
        for name, part in zip((*table.classes, "all classes"), parts, strict=True):
            own = part.groups[place]
            gaps = {f"{figure}_gap": gap.estimate for figure, gap in own.gaps.items()}
            of_class[name] = _flat(own.values) | _flat(gaps) | {"n": own.n, "n_positive": own.positives}
        if missed is not None:
            own = missed.groups[place]
            of_class["all classes"] |= _flat(own.values)
        found[group.label] = of_class
    return found


def _confusion(table: AuditTable) -> ConfusionRecord:
    counts = confusion.matrix(table) if table.exclusive else confusion.two_by_two(table)
    return ConfusionRecord(classes=table.classes, counts=counts.tolist())
