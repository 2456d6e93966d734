"""Every figure of every group, and of the rest beside it, in all bootstrap replicates by one pass over the scores.

A pass for each group and another for its rest would read all cases as often as there are groups. Counts are additive,
and so are the pairs behind an AUROC: those among the rest are all pairs, less those with a positive or a negative of
the group, plus those with both. Only the precision of the rest costs a step for each group, and only at positives.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dashboard.audit.bootstrap import LANES, Draws, presort, workers
from dashboard.audit.table import AuditTable

FIGURES = (
    "auroc",
    "auprc",
    "sensitivity",
    "specificity",
    "false_positive_rate",
    "ppv",
    "ece",
    "miscalibration",
    "prevalence",
)
Replicates = dict[str, NDArray[np.float64]]


def replicates(table: AuditTable, finding: int, member: NDArray[np.intp], groups: int, drawn: Draws) -> Replicates:
    """Figures of one class, cases with an unknown label left out.

    Args:
        finding: index of the class.
        member: (n,) number of the group of each case, 0 to groups - 1.
        drawn: (P, R), of :func:`dashboard.audit.bootstrap.draws`; a column of ones gives the figures themselves.

    Returns:
        (groups, 2, R) float64 by name (:data:`FIGURES`): of the group and of all other cases; NaN where a figure is not
        defined. ``miscalibration`` is the mean score less the observed rate.
    """
    rows = table.known[:, finding]
    positive, scores, decided = (array[rows, finding] for array in (table.positive, table.scores, table.decided))
    case = presort(table.groups[rows], positive, scores, decided)
    # As within presort: the highest score first, ties in the order of the cases.
    group = member[rows][np.argsort(-scores, kind="stable")].astype(np.int32)
    parts = (case.group, case.label, case.decided, case.ends, case.score, case.bin, group, groups)
    sums = np.empty((8, groups, 2, drawn.shape[1]))

    def work(start: int) -> None:
        width = min(LANES, drawn.shape[1] - start)
        weights = np.zeros((len(drawn), LANES), dtype=np.uint8)
        weights[:, :width] = drawn[:, start : start + width]
        sums[..., start : start + width] = _pass(weights, *parts)[..., :width]

    list(workers().map(work, range(0, drawn.shape[1], LANES)))
    return _finish(sums)


def _finish(sums: NDArray[np.float64]) -> Replicates:
    """Figures out of (8, groups, 2, R) sums."""
    above, precise, gaps, confidence, tp, fp, positives, negatives = sums
    total = positives + negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (
            1 - above / (positives * negatives),
            np.where(positives > 0, precise / positives, np.nan),
            tp / positives,
            1 - fp / negatives,
            fp / negatives,
            tp / (tp + fp),
            gaps / total,
            (confidence - positives) / total,
            positives / total,
        )
    return dict(zip(FIGURES, values, strict=True))


@njit(nogil=True, cache=True)
def _pass(weights, patient, label, decided, ends, score, bins, group, groups):  # type: ignore[no-untyped-def]
    """(8, groups, 2, LANES) sums: negatives above positives, precision, calibration gaps, scores, TP, FP, positives,
    negatives; of the group and of the rest."""
    sums = np.zeros((8, groups, 2, LANES))
    m = len(patient)
    tp = np.zeros(LANES, dtype=np.int32)  # of all groups, from the highest score down
    fp = np.zeros(LANES, dtype=np.int32)
    run_tp = np.zeros(LANES, dtype=np.int32)  # before the run of equal scores
    run_fp = np.zeros(LANES, dtype=np.int32)
    own_tp = np.zeros((groups, LANES), dtype=np.int32)
    own_fp = np.zeros((groups, LANES), dtype=np.int32)
    own_run_tp = np.zeros((groups, LANES), dtype=np.int32)
    own_run_fp = np.zeros((groups, LANES), dtype=np.int32)
    bin_tp = np.zeros((groups, LANES), dtype=np.int32)  # before the bin
    confidence = np.zeros((groups, LANES))  # sum of scores of the bin
    mixed = np.zeros((groups, LANES))  # negatives above positives, the positive in the group
    below = np.zeros((groups, LANES))  # positives above negatives, the negative in the group
    start = 0
    some = False  # the run holds a positive
    for i in range(m):
        g = group[i]
        w = weights[patient[i]]
        s = score[i]
        if label[i]:
            some = True
            for k in range(LANES):
                tp[k] += w[k]
                own_tp[g, k] += w[k]
        else:
            for k in range(LANES):
                fp[k] += w[k]
                own_fp[g, k] += w[k]
        if decided[i]:
            called = 4 if label[i] else 5
            for k in range(LANES):
                sums[called, g, 0, k] += w[k]
        for k in range(LANES):
            confidence[g, k] += w[k] * s
        if ends[i]:
            # A run of one case, by far the most common, touches one group.
            first, last = (g, g + 1) if start == i else (0, groups)
            for h in range(first, last):
                if some:
                    for k in range(LANES):
                        found = own_tp[h, k] - own_run_tp[h, k]
                        sums[0, h, 0, k] += found * (0.5 * (own_run_fp[h, k] + own_fp[h, k]))
                        mixed[h, k] += found * (0.5 * (run_fp[k] + fp[k]))
                        if found > 0:
                            sums[1, h, 0, k] += found * (own_tp[h, k] / (own_tp[h, k] + own_fp[h, k]))
                for k in range(LANES):
                    below[h, k] += (own_fp[h, k] - own_run_fp[h, k]) * (0.5 * (run_tp[k] + tp[k]))
            if some:
                for h in range(groups):
                    for k in range(LANES):
                        found = (tp[k] - run_tp[k]) - (own_tp[h, k] - own_run_tp[h, k])
                        rest = tp[k] - own_tp[h, k]
                        if found > 0:
                            sums[1, h, 1, k] += found * (rest / (rest + fp[k] - own_fp[h, k]))
                some = False
            for h in range(first, last):
                for k in range(LANES):
                    own_run_tp[h, k] = own_tp[h, k]
                    own_run_fp[h, k] = own_fp[h, k]
            for k in range(LANES):
                run_tp[k] = tp[k]
                run_fp[k] = fp[k]
            start = i + 1
        if i == m - 1 or bins[i + 1] != bins[i]:
            for k in range(LANES):
                scored, true = 0.0, 0
                for h in range(groups):
                    scored += confidence[h, k]
                    true += own_tp[h, k] - bin_tp[h, k]
                for h in range(groups):
                    own = own_tp[h, k] - bin_tp[h, k]
                    sums[2, h, 0, k] += abs(confidence[h, k] - own)
                    sums[2, h, 1, k] += abs((scored - confidence[h, k]) - (true - own))
                    sums[3, h, 0, k] += confidence[h, k]
                    sums[3, h, 1, k] += scored - confidence[h, k]
                    confidence[h, k] = 0.0
                    bin_tp[h, k] = own_tp[h, k]
    for k in range(LANES):
        pairs = 0.0  # negatives above positives, of all cases
        called_tp, called_fp = 0.0, 0.0
        for h in range(groups):
            pairs += mixed[h, k]
            called_tp += sums[4, h, 0, k]
            called_fp += sums[5, h, 0, k]
        for h in range(groups):
            crossing = float(own_fp[h, k]) * tp[k] - below[h, k]  # the negative in the group, any positive
            sums[0, h, 1, k] = pairs - mixed[h, k] - crossing + sums[0, h, 0, k]
            sums[4, h, 1, k] = called_tp - sums[4, h, 0, k]
            sums[5, h, 1, k] = called_fp - sums[5, h, 0, k]
            sums[6, h, 0, k], sums[6, h, 1, k] = own_tp[h, k], tp[k] - own_tp[h, k]
            sums[7, h, 0, k], sums[7, h, 1, k] = own_fp[h, k], fp[k] - own_fp[h, k]
    return sums
