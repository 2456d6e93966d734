"""How fast the audit's intervals come, against a loop over scikit-learn: ``python -m benchmarks.audit``.

A made table of ChestX-ray14's size (112,120 films of 30,805 patients, 14 findings at their published prevalence).
Both sides compute every figure with its interval from drawing patients; the loop is run for a few replicates and its
time a replicate is multiplied. Ratios hold on one machine in one run; CPU time counts all threads.
"""

from __future__ import annotations

import resource
import time
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from sklearn import metrics

from dashboard.audit.bootstrap import draws
from dashboard.audit.delong import auroc_interval
from dashboard.audit.discrimination import discrimination
from dashboard.audit.table import AuditTable

# Wang et al. 2017, arXiv:1705.02315, and the release notes of the data set: films of each finding.
FILMS = {
    "Atelectasis": 11559, "Cardiomegaly": 2776, "Effusion": 13317, "Infiltration": 19894, "Mass": 5782,
    "Nodule": 6331, "Pneumonia": 1431, "Pneumothorax": 5302, "Consolidation": 4667, "Edema": 2303,
    "Emphysema": 2516, "Fibrosis": 1686, "Pleural_Thickening": 3385, "Hernia": 227,
}  # fmt: skip
CASES, PATIENTS = 112_120, 30_805


def made_table(cases: int = CASES, patients: int = PATIENTS, seed: int = 0) -> AuditTable:
    """Scores with an AUROC of about 0.85, labels at the published prevalence."""
    rng = np.random.default_rng(seed)
    labels = rng.random((cases, len(FILMS))) < np.array(list(FILMS.values())) / CASES
    scores = 1 / (1 + np.exp(3 - 1.5 * labels - rng.normal(size=labels.shape)))
    table = pd.DataFrame(
        {
            "case_id": [f"case-{number:06d}" for number in range(cases)],
            "patient_id": rng.integers(0, patients, cases).astype(str),
            "age": rng.integers(1, 95, cases).astype(float),
            "sex": rng.choice(["F", "M"], cases),
            "view": rng.choice(["AP", "PA"], cases),
        }
    )
    return AuditTable(
        f"made, {cases:,} cases", "multilabel", tuple(FILMS), table, labels.astype(np.float32),
        scores.astype(np.float32), (0.2,) * len(FILMS),
    )  # fmt: skip


def loop(table: AuditTable, replicates: int) -> None:
    """The figures of every class by scikit-learn, replicate by replicate, as a script would do it."""
    drawn = draws(table.groups, replicates, seed=0)
    for replicate in range(replicates):
        weight = drawn[table.groups, replicate].astype(float)
        for k in range(len(table.classes)):
            labels, scores, called = table.positive[:, k], table.scores[:, k], table.decided[:, k]
            metrics.roc_auc_score(labels, scores, sample_weight=weight)
            metrics.average_precision_score(labels, scores, sample_weight=weight)
            metrics.brier_score_loss(labels, scores, sample_weight=weight)
            metrics.precision_recall_fscore_support(labels, called, sample_weight=weight, zero_division=0)


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main(
    cases: Annotated[int, typer.Option(help="Rows of the table.")] = CASES,
    replicates: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 1000,
    looped: Annotated[int, typer.Option(help="Replicates of the scikit-learn loop.")] = 2,
) -> None:
    table = made_table(cases, max(1, cases * PATIENTS // CASES))
    discrimination(first_cases(table), 64)  # compiles
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = []
    for name, work in (
        ("values alone", lambda: discrimination(table, 0)),
        (f"all figures, {replicates:,} replicates", lambda: discrimination(table, replicates)),
        (
            "DeLong of every class",
            lambda: [auroc_interval(table.positive[:, k], table.scores[:, k]) for k in range(14)],
        ),
    ):
        times = []
        for _ in range(3):
            began = clock()
            work()
            times.append([after - then for after, then in zip(clock(), began, strict=True)])
        rows.append((name, *np.median(times, axis=0)))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    began = clock()
    loop(table, looped)
    each = [(after - then) / looped for after, then in zip(clock(), began, strict=True)]
    rows.append((f"scikit-learn loop, {replicates:,} replicates (from {looped})", *(one * replicates for one in each)))
    ours = rows[1]
    print(f"{cases:,} cases x {len(table.classes)} classes, {table.patients:,} patients")
    print(f"{'':58}{'wall s':>10}{'CPU s':>10}{'CPU ratio':>11}")
    for name, wall, cpu in rows:
        print(f"{name:58}{wall:10.2f}{cpu:10.2f}{cpu / ours[2]:11.2f}")
    print(f"memory on top of the table: {grown:.0f} MB")


def first_cases(table: AuditTable) -> AuditTable:
    """The first thousand cases."""
    return table.part(np.arange(len(table)) < 1000)


if __name__ == "__main__":
    typer.run(main)
