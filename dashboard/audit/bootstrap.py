"""All figures of every class with 1,000 bootstrap replicates at once: one pass over the presorted scores.

Replicates draw whole patients (cluster bootstrap, Davison & Hinkley 1997), so several images of one patient do not
count as independent. A replicate is a number for each patient, how often it was drawn. For each class the cases are
sorted by score once; a pass from the highest score down keeps, for 64 replicates side by side, the true and false
positives so far, out of which every figure comes exactly, ties included.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dashboard.audit.table import Mask, Rows

REPLICATES = 1000
BINS = 15  # equal-width bins of the expected calibration error
LANES = 64  # replicates side by side: one cache line of counts

Draws = NDArray[np.uint8]
FIGURES = ("auroc", "auprc", "ece", "brier", "sensitivity", "specificity", "ppv", "npv", "f1", "balanced_accuracy")


def draws(groups: Rows, replicates: int = REPLICATES, seed: int = 0) -> Draws:
    """(P, replicates) uint8: how often each of the P patients is drawn in each replicate.

    Args:
        groups: (n,) number of the patient of each case, 0 to P - 1.
    """
    people = int(groups.max()) + 1 if len(groups) else 0
    drawn = np.zeros((people, replicates), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    for replicate in range(replicates):
        drawn[:, replicate] = np.bincount(rng.integers(0, people, people), minlength=people)
    return drawn


@dataclass(frozen=True, eq=False)
class Sorted:
    """The known cases of one class, highest score first.

    Attributes:
        group: (m,) int32 patient. label, decided: (m,) bool.
        ends: (m,) bool, the last case of a run of equal scores.
        score: (m,) float64. bin: (m,) int8, equal-width bin of the score.
    """

    group: NDArray[np.int32]
    label: Mask
    decided: Mask
    ends: Mask
    score: NDArray[np.float64]
    bin: NDArray[np.int8]


def presort(groups: Rows, labels: Mask, scores: NDArray[np.float32], decided: Mask) -> Sorted:
    """All arguments (m,), cases with a known label."""
    order = np.argsort(-scores, kind="stable")
    score = scores[order].astype(np.float64)
    # Bins hold low <= score < high, as in dashboard.audit.calibration and torchmetrics; 1 is in the last.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1, dtype=np.float32)[1:-1], scores[order], side="right")
    ends = np.ones(len(score), dtype=bool)
    ends[:-1] = score[1:] != score[:-1]
    return Sorted(groups[order].astype(np.int32), labels[order], decided[order], ends, score, bins.astype(np.int8))


def figures(case: Sorted, drawn: Draws) -> dict[str, NDArray[np.float64]]:
    """Every figure in every replicate.

    Args:
        drawn: (P, R), of :func:`draws`; a column of ones gives the figures themselves.

    Returns:
        (R,) float64 by name (``auroc``, ``auprc``, ``ece``, ``brier``, ``sensitivity``, ``specificity``, ``ppv``,
        ``npv``, ``f1``, ``balanced_accuracy``); NaN where a replicate draws no positive or no negative.
    """
    replicates = drawn.shape[1]
    sums = np.empty((8, replicates))
    parts = (case.group, case.label, case.decided, case.ends, case.score, case.bin)

    def work(start: int) -> None:
        lanes = np.zeros((len(drawn), LANES), dtype=np.uint8)
        width = min(LANES, replicates - start)
        lanes[:, :width] = drawn[:, start : start + width]
        sums[:, start : start + width] = _pass(lanes, *parts)[:, :width]

    starts = range(0, replicates, LANES)
    if len(starts) == 1:
        work(0)
    else:
        list(workers().map(work, starts))
    return _finish(sums)


@cache
def workers() -> ThreadPoolExecutor:
    """Threads for the compiled passes, which let go of the interpreter; numba's own threads bear no two callers."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="sightline-audit")


def _finish(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Figures out of (8, R) sums."""
    ranked, precise, gaps, squares, tp, fp, positives, negatives = sums
    total = positives + negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / positives, 1 - fp / negatives
        ppv = tp / (tp + fp)
        npv = (negatives - fp) / (total - tp - fp)
        values = (
            ranked / (positives * negatives),
            np.where(positives > 0, precise / positives, np.nan),
            gaps / total,
            squares / total,
            sensitivity,
            specificity,
            ppv,
            npv,
            2 * tp / (positives + tp + fp),
            (sensitivity + specificity) / 2,
        )
    return dict(zip(FIGURES, values, strict=True))


@njit(nogil=True, cache=True)
def _pass(weights, group, label, decided, ends, score, bins):  # type: ignore[no-untyped-def]
    """(8, LANES) sums: ranks, precision, calibration gaps, squares, TP, FP, positives, negatives."""
    sums = np.zeros((8, LANES))
    tp = np.zeros(LANES, dtype=np.int32)  # so far, from the highest score down
    fp = np.zeros(LANES, dtype=np.int32)
    run_tp = np.zeros(LANES, dtype=np.int32)  # before the run of equal scores
    run_fp = np.zeros(LANES, dtype=np.int32)
    bin_tp = np.zeros(LANES, dtype=np.int32)  # before the bin
    confidence = np.zeros(LANES)  # sum of scores of the bin
    some = False  # the run holds a positive
    m = len(group)
    for i in range(m):
        w = weights[group[i]]
        s = score[i]
        count = tp if label[i] else fp
        some = some or label[i]
        square = (s - label[i]) ** 2
        for k in range(LANES):
            count[k] += w[k]
            confidence[k] += w[k] * s
            sums[3, k] += w[k] * square
        if decided[i]:
            row = 4 if label[i] else 5
            for k in range(LANES):
                sums[row, k] += w[k]
        if ends[i]:
            if some:
                for k in range(LANES):
                    found = tp[k] - run_tp[k]
                    if found > 0:
                        # Each negative above a positive costs a pair, one of the same score half a pair.
                        sums[0, k] -= found * (0.5 * (run_fp[k] + fp[k]))
                        sums[1, k] += found * (tp[k] / (tp[k] + fp[k]))
                some = False
            for k in range(LANES):
                run_tp[k] = tp[k]
                run_fp[k] = fp[k]
        if i == m - 1 or bins[i + 1] != bins[i]:
            for k in range(LANES):
                sums[2, k] += abs(confidence[k] - (tp[k] - bin_tp[k]))
                confidence[k] = 0.0
                bin_tp[k] = tp[k]
    for k in range(LANES):
        sums[0, k] += float(tp[k]) * float(fp[k])
        sums[6, k] = tp[k]
        sums[7, k] = fp[k]
    return sums
