"""What is left of a network's decisions, and of its maps, when every picture becomes worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dashboard.audit.bootstrap import Draws, draws, figures, presort
from dashboard.audit.intervals import FEW, Estimate, estimated, people, percentile, scarcer, too_few
from dashboard.audit.table import AuditTable, Mask
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.corruptions import CORRUPTIONS, STRENGTHS, corrupted, fitting
from dashboard.hunting.grid import Array, cell_means, on_image
from dashboard.hunting.robustness_result import Curves, Point, Robustness
from dashboard.hunting.stored import rounded
from dashboard.hunting.turns import Turn, at_once
from dashboard.serving.types import Engine, ExplainRequest
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.types import Image, favoured

CELLS = 24  # along each side, in which two maps are compared
EVERY = 20  # cases after which a partial result is shown
MAPPED = 60  # cases whose maps are compared
REPLICATES = 1000


def enriched(cases: Cohort, most: int, seed: int = 0) -> Cohort:
    """At most ``most`` cases, drawn at random so that rare classes have enough positives to say something.

    Each class, and having none of them, gets the same number of patients as far as there are any, the rarest first; the
    rest is drawn from all. Sensitivity and AUROC of a class do not depend on how many positives there are; its negatives
    hold more of the other findings than usual.
    """
    if len(cases) <= most:
        return cases
    shuffled = np.random.default_rng(seed).permutation(cases.rows)
    who, positive = cases.table.groups[shuffled], cases.table.positive[shuffled]
    strata = positive if cases.table.exclusive else np.column_stack([positive, ~positive.any(axis=1)])
    chosen = np.zeros(len(shuffled), dtype=bool)
    share = most // strata.shape[1]
    for column in np.argsort(strata.sum(axis=0), kind="stable"):
        there = np.unique(who[chosen & strata[:, column]])
        free = np.flatnonzero(strata[:, column] & ~chosen & ~np.isin(who, there))
        _, first = np.unique(who[free], return_index=True)
        chosen[free[np.sort(first)][: max(0, share - len(there))]] = True
    rest = np.flatnonzero(~chosen)
    chosen[rest[: most - int(chosen.sum())]] = True
    return replace(cases, rows=np.sort(shuffled[chosen]))


def measure(
    engine: Engine,
    cases: Cohort,
    ctx: RunContext,
    *,
    turn: Turn | None = None,
    part: str = "test cases",
    names: Sequence[str] | None = None,
    method: str = "grad-cam",
    mapped: int = MAPPED,
    seed: int = 0,
) -> Robustness:
    """Go through the cases, one picture at a time; what is known so far goes to ``ctx.show``.

    Args:
        turn: when the network may be used; at once if not given.
        part: which cases they are, in words.
        names: of corruptions; all that fit the first picture if not given.
        method: of the maps; "" for none.
        mapped: cases whose maps are compared, the first of a random order.
        seed: of the corruptions, together with the case's number.

    Raises:
        DataError: no picture could be read.
        SightlineError: the network failed, or ``ctx`` was cancelled.
    """
    run = _Run(engine, cases, turn or at_once(ctx), names, method, seed)
    order = np.random.default_rng(seed).permutation(len(cases))
    ctx.total = len(cases)
    for count, number in enumerate(order):
        run.take(int(number), with_maps=bool(method) and count < mapped)
        ctx.tick()
        if (count + 1) % EVERY == 0 and count + 1 < len(order) and run.done.any():
            ctx.show(run.result(part))
    if not run.done.any():
        raise DataError("None of the pictures could be read; choose the folder that holds the pictures of this table.")
    return run.result(part)


class _Run:
    """What is known so far.

    Attributes:
        scores: (conditions, n, K); condition 0 is the unchanged picture, then all strengths of each corruption.
        kept: (conditions, n, K) rank correlation of the maps; NaN where they were not compared.
    """

    def __init__(
        self, engine: Engine, cases: Cohort, turn: Turn, names: Sequence[str] | None, method: str, seed: int
    ) -> None:
        self._engine, self._cases, self._turn, self._seed = engine, cases, turn, seed
        self._names, self._method = None if names is None else tuple(names), method
        self.done = np.zeros(len(cases), dtype=bool)
        self.unread = 0
        self.scores = self.kept = np.zeros((0, len(cases), len(cases.table.classes)), dtype=np.float32)

    def take(self, number: int, with_maps: bool) -> None:
        try:
            image = self._cases.image(number)
        except DataError:
            self.unread += 1
            return
        if self._names is None:
            self._names = tuple(one.id for one in fitting(image))
        names, strengths = self._names, STRENGTHS[1:]
        if not all(CORRUPTIONS[name].fits(image) for name in names):  # a folder of mixed kinds of pictures
            self.unread += 1
            return
        if not len(self.scores):
            shape = (1 + len(names) * len(strengths), *self.scores.shape[1:])
            self.scores, self.kept = (np.full(shape, np.nan, dtype=np.float32) for _ in range(2))
        try:
            first = self._turn(partial(self._one, image, number, 0, None, None, with_maps))
            for place, name in enumerate(names):
                # Short pieces, so that a reader never waits long.
                self._turn(partial(self._several, image, number, place, name, first))
        except Cancelled:
            raise
        except SightlineError:  # one picture that the network refuses is no reason to lose the others
            self.unread += 1
            return
        self.done[number] = True

    def _several(
        self, image: Image, number: int, place: int, name: str, first: dict[int, Array], ctx: RunContext
    ) -> None:
        for strength in STRENGTHS[1:]:
            condition = place * (len(STRENGTHS) - 1) + strength
            self._one(image, number, condition, (name, strength), first, bool(first), ctx)

    def _one(
        self,
        image: Image,
        number: int,
        condition: int,
        change: tuple[str, int] | None,
        first: dict[int, Array] | None,
        with_maps: bool,
        ctx: RunContext,
    ) -> dict[int, Array]:
        """Score, and explain what is called; the cells of each class's map, ranked later."""
        card, spec = self._cases.card, self._cases.card.input.spec
        made = None if change is None else corrupted(image, *change, (self._seed, number), spec)
        given = image if made is None else made.image
        (prediction,) = self._engine.predict(card.id, [given], ctx)
        self.scores[condition, number] = prediction.probabilities
        if not with_maps:
            return {}
        called = np.flatnonzero(_decided(self._cases.table, prediction.probabilities[None])[0])
        wanted = [int(k) for k in called if first is None or int(k) in first]
        if not wanted:
            return {}
        targets = [card.target(card.classes[k]) for k in wanted]
        request = ExplainRequest(card.id, given, self._method, targets[0])
        cells = {}
        for k, explanation in zip(wanted, self._engine.explain_targets(request, targets, ctx), strict=True):
            values, seen = on_image(explanation)
            if made is not None:
                values, known = made.undo(values)
                seen = seen & known
            cells[k] = cell_means(values, seen, CELLS)
            if first is not None:
                self.kept[condition, number, k] = rank_correlation(first[k], cells[k])
        return cells

    def result(self, part: str) -> Robustness:
        """Of the cases done."""
        cases, names = self._cases, self._names or ()
        mask = np.zeros(len(cases.table), dtype=bool)
        mask[cases.rows[self.done]] = True
        table = cases.table.part(mask)
        drawn = draws(table.groups, REPLICATES, self._seed)
        scores, kept = self.scores[:, self.done], self.kept[:, self.done]
        before = _decided(table, scores[0])
        points = [
            _points(table, scores[c], before, kept[c], drawn, c and (c - 1) % (len(STRENGTHS) - 1) + 1)
            for c in range(len(scores))
        ]
        steps = len(STRENGTHS) - 1
        curves = []
        for place, name in enumerate(names):
            own, span = CORRUPTIONS[name], range(1 + place * steps, 1 + (place + 1) * steps)
            classes = {finding: tuple(points[c][finding] for c in span) for finding in table.classes}
            drift = tuple(_mean(kept[c], table, drawn) for c in span)
            amounts = tuple(own.amount(strength) for strength in STRENGTHS[1:])
            curves.append(
                Curves(id=name, title=own.title, about=own.about, amounts=amounts, classes=classes, drift=drift)
            )
        return Robustness(
            model=cases.card.id,
            weights_sha256=cases.card.weights.sha256,
            part=part,
            method=self._method,
            seed=self._seed,
            cases=len(table),
            patients=table.patients,
            unit=table.unit,
            unread=self.unread,
            clean=points[0],
            corruptions=tuple(curves),
        )


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's, over the cells known in both; 0 where one of them is the same everywhere.

    NaN where ``first`` is, which marks nothing that could be kept.
    """
    both = np.isfinite(first) & np.isfinite(second)
    ranks = []
    for values in (first, second):
        # Cells that differ by rounding alone are equal.
        inside = np.round(values[both] / (float(np.abs(values[both]).max(initial=0.0)) or 1.0), 9)
        ranks.append(rankdata(inside) - (len(inside) + 1) / 2)
    spread = [float(one @ one) for one in ranks]
    if not spread[0]:
        return float("nan")
    return float(ranks[0] @ ranks[1] / np.sqrt(spread[0] * spread[1])) if spread[1] else 0.0


def _decided(table: AuditTable, scores: NDArray[np.float32]) -> Mask:
    """(n, K), as :attr:`AuditTable.decided` for other scores."""
    points = np.asarray(table.thresholds)
    if table.exclusive:
        return np.eye(len(points), dtype=bool)[favoured(scores, points)]
    return np.asarray(scores >= points)


def _points(
    table: AuditTable,
    scores: NDArray[np.float32],
    before: Mask,
    kept: NDArray[np.float32],
    drawn: Draws,
    strength: int,
) -> dict[str, Point]:
    """The points of every class at one strength."""
    called = _decided(table, scores)
    weights = np.concatenate([np.ones((len(drawn), 1)), drawn], axis=1)[table.groups]
    found = {}
    for k, name in enumerate(table.classes):
        known, positive, negative = table.known[:, k], table.positive[:, k], table.negative[:, k]
        pos, neg = people(table.groups, positive), people(table.groups, negative)
        own = presort(table.groups[known], positive[known], scores[known, k], called[known, k])
        both = np.concatenate([np.ones((len(drawn), 1), dtype=np.uint8), drawn], axis=1)
        values = figures(own, both)
        fewer = scarcer(pos, neg, table.unit)
        flip = called[:, k].astype(np.float64) - before[:, k]
        found[name] = Point(
            strength=strength,
            sensitivity=_estimate("sensitivity", values, int(positive.sum()), pos, (pos, f"positive {table.unit}")),
            specificity=_estimate("specificity", values, int(negative.sum()), neg, (neg, f"negative {table.unit}")),
            auroc=_estimate("auroc", values, int(known.sum()), fewer[0], fewer),
            sensitivity_change=_change(flip, positive, weights, pos, f"positive {table.unit}"),
            specificity_change=_change(-flip, negative, weights, neg, f"negative {table.unit}"),
            drift=_mean(kept[:, k : k + 1], table, drawn),
        )
    return found


def _estimate(
    figure: str, values: dict[str, NDArray[np.float64]], n: int, patients: int, fewer: tuple[int, str]
) -> Estimate:
    if fewer[0] < FEW:
        return too_few(*fewer)
    return rounded(estimated(figure, values[figure], n, patients))


def _change(flip: Array, chosen: Mask, weights: Array, patients: int, words: str) -> Estimate:
    """Mean change of the calls of the chosen cases, over patients drawn again."""
    if patients < FEW:
        return too_few(patients, words)
    total = weights[chosen].sum(axis=0)
    with np.errstate(invalid="ignore"):
        means = flip[chosen] @ weights[chosen] / total
    return rounded(percentile(float(means[0]), means[1:], int(chosen.sum())))


def _mean(kept: NDArray[np.float32], table: AuditTable, drawn: Draws) -> Estimate:
    """Mean of (n, k) rank correlations where there are any, over patients drawn again."""
    known = np.isfinite(kept)
    patients = people(table.groups, np.asarray(known.any(axis=1)))
    if patients < FEW:
        return too_few(patients, table.unit)
    sums = np.bincount(table.groups, np.where(known, kept, 0).sum(axis=1), len(drawn))
    sizes = np.bincount(table.groups, known.sum(axis=1), len(drawn))
    with np.errstate(invalid="ignore"):
        means = (sums @ drawn) / (sizes @ drawn)
    return rounded(percentile(float(sums.sum() / sizes.sum()), means, int(known.any(axis=1).sum())))
