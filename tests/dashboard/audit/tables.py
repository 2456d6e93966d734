"""Small tables with a known make for the tests of the audit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dashboard.audit.table import AuditTable, Task


def make_table(
    n: int = 400,
    classes: tuple[str, ...] = ("A", "B", "C"),
    task: Task = "multilabel",
    seed: int = 0,
    patients: bool = True,
    unknown: float = 0.0,
    attributes: bool = True,
) -> AuditTable:
    """Scores that know something of the labels; about two cases a patient; two splits; age, sex and view."""
    rng = np.random.default_rng(seed)
    count = len(classes)
    if task == "multiclass":
        truth = rng.choice(count, size=n, p=np.arange(count, 0, -1) / np.arange(count, 0, -1).sum())
        labels = np.eye(count)[truth]
        logits = 1.5 * labels + rng.normal(size=(n, count))
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    else:
        labels = (rng.random((n, count)) < 0.3 / np.arange(1, count + 1)).astype(float)
        scores = 1 / (1 + np.exp(-(2 * labels - 1.5 + rng.normal(size=(n, count)))))
    if unknown:
        rows = rng.random(n) < unknown
        labels[rows if task == "multiclass" else rng.random(labels.shape) < unknown] = np.nan
    cases = pd.DataFrame({"case_id": [f"case-{row:05d}" for row in range(n)]})
    if patients:
        cases["patient_id"] = [f"p{who}" for who in rng.integers(0, max(1, n // 2), n)]
    cases["split"] = np.where(np.arange(n) % 2, "test", "val")
    if attributes:
        cases["age"] = rng.integers(18, 90, n).astype(float)
        cases["sex"] = rng.choice(["F", "M"], n)
        cases["view"] = rng.choice(["PA", "AP"], n)
    points = (1.0,) * count if task == "multiclass" else (0.5,) * count
    return AuditTable("made", task, classes, cases, labels.astype(np.float32), scores.astype(np.float32), points)
