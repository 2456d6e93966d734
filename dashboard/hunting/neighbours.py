"""The cases of the evaluation that a network sees as most like a new one, rightly and wrongly called.

What the last layer reads of each case, in the directions in which the cases differ most; distances are Euclidean. The
cases are those that the model was tested on, not those that it learned from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.intervals import Estimate, wilson
from dashboard.audit.table import CASE, AuditTable, Mask, Rows
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.turns import Turn, at_once
from dashboard.serving.types import Engine
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError, ModelError
from models.types import FloatArray, Image, Target

FILE = "evaluation/neighbours.npz"
DIRECTIONS = 64
MOST = 2000
NEAR = 20  # nearest cases whose share with the finding is told
_CHECKED = 10  # nearest neighbours by which the compression is judged
_TOGETHER = 16  # images in memory at once
_SAME = 0.01  # of the median distance of two cases, below which two pictures are one
_LARGEST = 3 * 2**20  # bytes of a file; more is none of ours
_PERCENT = np.arange(101)


@dataclass(frozen=True, eq=False)
class Index:
    """Cases of the evaluation in a network's feature space.

    Attributes:
        names: (n,) case ids. groups: (n,) number of the patient.
        labels, decided: (n, K); labels are 1, 0, and -1 where unknown.
        scores: (n, K) calibrated probabilities.
        mean: (D,). components: (d, D). points: (n, d) features less the mean, along the components.
        kept: share of the 10 nearest by all features that are among the 10 nearest by these; [0, 1].
        pairs, nearest: (101,) percentiles of the distance of two cases, and of a case to the nearest of another patient.
        part: which cases they are, in words.
    """

    model: str
    weights_sha256: str
    part: str
    classes: tuple[str, ...]
    names: NDArray[np.str_]
    groups: Rows
    labels: NDArray[np.int8]
    decided: Mask
    scores: FloatArray
    mean: FloatArray
    components: FloatArray
    points: FloatArray
    kept: float
    pairs: FloatArray
    nearest: FloatArray

    def __len__(self) -> int:
        return len(self.names)

    def placed(self, features: FloatArray) -> FloatArray:
        """(n, D) features to (n, d), as ``points``."""
        return np.asarray((features - self.mean) @ self.components.T, dtype=np.float32)


@dataclass(frozen=True)
class Neighbour:
    """One case.

    Attributes:
        row: of the index.
        has: the finding is there, is not, or is not known.
        called: for the finding.
        farther: share of pairs of cases that lie farther apart, %.
    """

    row: int
    name: str
    has: bool | None
    called: bool
    score: float
    distance: float
    farther: float


@dataclass(frozen=True)
class Nearest:
    """What lies around a case.

    Attributes:
        right, wrong: nearest first.
        share: of the 20 nearest that have the finding, as far as that is known.
        distance: to the nearest case at all.
        unusual: share of cases that have a nearer neighbour than this one, %.
        itself: the case is one of the index; it is left out, with all others of its patient.
    """

    finding: str
    right: tuple[Neighbour, ...]
    wrong: tuple[Neighbour, ...]
    share: Estimate
    distance: float
    unusual: float
    itself: bool = False


def build(
    engine: Engine, cases: Cohort, ctx: RunContext, *, turn: Turn | None = None, part: str = "test cases"
) -> Index:
    """Features of all cases, compressed.

    Raises:
        DataError: fewer than 20 pictures could be read.
        ModelError: the network reads no vector of features.
        SightlineError: it failed, or ``ctx`` was cancelled.
    """
    turn = turn or at_once(ctx)
    ctx.total = len(cases)
    rows: list[int] = []
    parts: list[FloatArray] = []
    for places, images in _batches(cases):
        if images:
            parts.append(turn(partial(engine.features, cases.card.id, images)))
            rows += places
        ctx.tick(_TOGETHER)
    if len(rows) < NEAR:
        raise DataError(f"Only {len(rows)} pictures of the cases could be read; {NEAR} are needed to compare with.")
    features = np.concatenate(parts).astype(np.float32)
    if not features.shape[1]:
        raise ModelError(f"Model {cases.card.id} has no layer whose features could be compared.")
    return compress(features, np.asarray(rows, dtype=np.intp), cases.table, cases.card, part)


def compress(features: FloatArray, rows: Rows, table: AuditTable, card: ModelCard, part: str = "test cases") -> Index:
    """An index of (n, D) features of rows of a table, by principal components."""
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = features - mean
    _, _, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    components = directions[:DIRECTIONS].astype(np.float16).astype(np.float32)
    points = (centred @ components.T).astype(np.float16).astype(np.float32)
    groups = np.unique(table.groups[rows], return_inverse=True)[1]
    near, near_full = distances(points, points), distances(features, features)
    upper = near[np.triu_indices(len(near), 1)]
    own = np.where(groups[:, None] == groups[None], np.inf, near).min(axis=1)
    return Index(
        card.id,
        card.weights.sha256,
        part,
        table.classes,
        np.array([str(name) for name in table.cases[CASE].iloc[rows]]),
        groups.astype(np.intp),
        np.where(table.known[rows], table.positive[rows], -1).astype(np.int8),
        table.decided[rows],
        table.scores[rows].astype(np.float32),
        mean,
        components,
        points,
        overlap(near_full, near, _CHECKED),
        np.percentile(upper, _PERCENT).astype(np.float32),
        np.percentile(own[np.isfinite(own)], _PERCENT).astype(np.float32) if np.isfinite(own).any() else np.zeros(101, np.float32),
    )  # fmt: skip


def distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """(n, m) Euclidean distances of (n, D) and (m, D) points."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.sqrt(np.maximum(squares, 0)).astype(np.float32)


def overlap(full: FloatArray, near: FloatArray, count: int) -> float:
    """Mean share of the ``count`` nearest others by one (n, n) distance that are among those by another."""
    count = min(count, len(full) - 1)
    chosen = []
    for values in (full, near):
        others = values.copy()
        np.fill_diagonal(others, np.inf)
        chosen.append(np.argpartition(others, count - 1, axis=1)[:, :count])
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(*chosen, strict=True)]) / count)


def nearest(index: Index, features: FloatArray, card: ModelCard, target: Target, k: int = 4) -> Nearest:
    """What lies around a case; the case itself is recognised by its features, and its patient's cases are left out.

    Args:
        features: (D,) of the case.
        k: right and wrong ones listed, each.

    Raises:
        DataError: the index or the features are of another network.
    """
    if index.weights_sha256 != card.weights.sha256 or features.shape != index.mean.shape:
        raise DataError("The stored cases belong to other weights of this model; make them again.")
    column = index.classes.index(target.name)
    away = distances(index.placed(features[None]), index.points)[0]
    own = index.groups[away < _SAME * index.pairs[50]]
    left_out = np.isin(index.groups, own)
    order = [int(row) for row in np.argsort(away, kind="stable") if not left_out[row]]
    label, called = index.labels[:, column], index.decided[:, column]

    def one(row: int) -> Neighbour:
        farther = 100.0 - float(np.interp(away[row], index.pairs, _PERCENT))
        has = None if label[row] < 0 else bool(label[row])
        score = float(index.scores[row, column])
        return Neighbour(row, str(index.names[row]), has, bool(called[row]), score, float(away[row]), farther)

    known = [row for row in order if label[row] >= 0]
    right = [row for row in known if called[row] == (label[row] == 1)][:k]
    wrong = [row for row in known if called[row] != (label[row] == 1)][:k]
    around = known[:NEAR]
    hits = int((label[around] == 1).sum())
    low, high = (float(end) for end in wilson(hits, len(around)))
    share = Estimate(hits / len(around), low, high, len(around)) if around else Estimate(None, None, None, 0, "none")
    first = float(away[order[0]]) if order else float("nan")
    return Nearest(
        target.name,
        tuple(one(row) for row in right),
        tuple(one(row) for row in wrong),
        share,
        first,
        float(np.interp(first, index.nearest, _PERCENT)),
        bool(len(own)),
    )


def write_index(index: Index, path: Path) -> None:
    """As compressed arrays, halves where that is enough."""
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        path,
        model=np.array([index.model, index.weights_sha256, index.part]),
        classes=np.array(index.classes),
        names=index.names,
        groups=index.groups.astype(np.int32),
        labels=index.labels,
        decided=index.decided,
        scores=index.scores.astype(np.float16),
        mean=index.mean,
        components=index.components.astype(np.float16),
        points=index.points.astype(np.float16),
        kept=np.array(index.kept),
        pairs=index.pairs,
        nearest=index.nearest,
    )


def read_index(card: ModelCard) -> Index | None:
    """The index stored beside a card; None where there is none, or it is damaged or of other weights."""
    path = card.folder / FILE
    try:
        if path.stat().st_size > _LARGEST:
            return None
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        model, weights, part = (str(text) for text in found["model"])
        if (model, weights) != (card.id, card.weights.sha256) or tuple(found["classes"]) != card.classes:
            return None
        return _index(model, weights, part, found)
    except (OSError, ValueError, KeyError, EOFError):
        return None


def _index(model: str, weights: str, part: str, found: dict[str, NDArray[Any]]) -> Index:
    n, d = found["points"].shape
    shape = (n, len(found["classes"]))
    expected = {
        "components": (d, len(found["mean"])),
        "names": (n,),
        "groups": (n,),
        "pairs": (101,),
        "nearest": (101,),
    }
    expected |= dict.fromkeys(("labels", "decided", "scores"), shape)
    if any(found[name].shape != size for name, size in expected.items()):
        raise ValueError("the arrays do not fit together")
    halves = {name: found[name].astype(np.float32) for name in ("scores", "mean", "components", "points", "pairs", "nearest")}  # fmt: skip
    return Index(
        model=model,
        weights_sha256=weights,
        part=part,
        classes=tuple(str(name) for name in found["classes"]),
        names=found["names"],
        groups=found["groups"].astype(np.intp),
        labels=found["labels"],
        decided=found["decided"],
        kept=float(found["kept"]),
        **halves,
    )


def _batches(cases: Cohort) -> Iterator[tuple[list[int], list[Image]]]:
    """Rows of the table and their pictures, some at a time; those that cannot be read are left out."""
    for first in range(0, len(cases), _TOGETHER):
        rows, images = [], []
        for number in range(first, min(first + _TOGETHER, len(cases))):
            try:
                images.append(cases.image(number))
            except DataError:
                continue
            rows.append(int(cases.rows[number]))
        yield rows, images
