"""Do maps sit elsewhere for one group of patients than for the others?

Of cases called for a class, one a patient: the mean map of a group against that of the others. Of each map what lies
above its own mean counts, and adds up to 1.
Their distance is half the sum of absolute differences (total variation): the share of the map that lies in other places,
from 0 to 1, without a setting of its own. It counts any move the same, near or far; where to and how far is said by the
shares of the body's parts and by the centre of mass. Groups differ in how often and how surely the class is found, so
cases are compared within label and half of the score only (weights as of Mantel and Haenszel), and the permutation test
shuffles patients within these strata, which keeps its level whatever the maps look like. All tests of a model are
corrected together (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.anatomy import parts_of
from dashboard.audit.gaps import holm
from dashboard.audit.grouping import UNKNOWN, grouping
from dashboard.audit.intervals import FEW, percentile, too_few
from dashboard.audit.table import AuditTable, Rows
from dashboard.hunting._matched import coefficients, permuted_distances, strata_of
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.drift_result import CELLS, SCALE, Comparison, Drift, NotCompared, PartShares
from dashboard.hunting.grid import Array, cell_means, excess, on_image
from dashboard.hunting.stored import rounded
from dashboard.hunting.turns import Turn, at_once
from dashboard.serving.types import Engine, ExplainRequest
from explainers.quality.anatomy import ASIDE
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, DataError, SightlineError
from models.types import Image

PERMUTATIONS = 9999
REPLICATES = 1000
EVERY = 25  # cases after which a partial result is shown
_NAMELESS = (UNKNOWN, "unknown")


_Made = tuple[int, tuple[Array, Mapping[str, float]]]  # class, cells, share of each part


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of one class.

    Attributes:
        rows: (n,) of the table. cells: (n, CELLS * CELLS) float64, each adding up to 1.
        shares: by part of the picture (n,) share of the map, NaN where the part was not found.
    """

    rows: Rows
    cells: Array
    shares: Mapping[str, Array] = field(default_factory=dict)


def attributes(table: AuditTable) -> tuple[str, ...]:
    """What cases can be grouped by; a quantity that stands there in ranges too ("age", "age_band") only so."""
    numeric = [name for name in table.attributes if pd.api.types.is_numeric_dtype(table.cases[name])]
    named = {name.split("_")[0] for name in table.attributes if name not in numeric}
    return tuple(name for name in table.attributes if name not in numeric or name.split("_")[0] not in named)


def measure(
    engine: Engine,
    cases: Cohort,
    ctx: RunContext,
    *,
    turn: Turn | None = None,
    part: str = "test cases",
    method: str = "grad-cam",
    most: int = 120,
    with_parts: bool = True,
    seed: int = 0,
) -> Drift:
    """Make the maps and compare all groups; what is known so far goes to ``ctx.show``.

    Args:
        turn: when the network may be used; at once if not given.
        most: maps of a class, of cases drawn at random.
        with_parts: find the parts of the body too.

    Raises:
        DataError: no case has a fact to group it by, or no picture could be read.
        SightlineError: the network failed, or ``ctx`` was cancelled.
    """
    table = cases.table
    if not attributes(table):
        raise DataError(
            "The table says nothing of the cases (sex, view, device ...), so there are no groups to compare."
        )
    plan = chosen(cases, most, seed)
    rows = sorted({row for own in plan.values() for row in own})
    places = {int(row): place for place, row in enumerate(cases.rows)}
    order = np.random.default_rng(seed).permutation(rows)
    found: dict[int, list[tuple[int, Array, Mapping[str, float]]]] = {k: [] for k in plan}
    turn = turn or at_once(ctx)
    unread = 0
    # Comparing takes about as long as a tenth of the maps.
    ctx.total = max(1, round(1.1 * len(order)))
    for count, row in enumerate(order):
        wanted = [k for k, own in plan.items() if row in own]
        try:
            image = cases.image(places[int(row)])
            made = turn(partial(_maps, engine, cases.card, image, method, wanted, with_parts))
        except Cancelled:
            raise
        except SightlineError:
            unread += 1
            ctx.tick()
            continue
        for k, one in made:
            found[k].append((int(row), *one))
        ctx.tick()
        if (count + 1) % EVERY == 0 and count + 1 < len(order):
            ctx.show(_partial(cases, part, method, seed, count + 1 - unread, unread))
    if len(order) == unread:
        raise DataError("No case is called for any class and has a picture that can be read, so there are no maps.")
    maps = {table.classes[k]: _gathered(own) for k, own in found.items() if own}
    return compare_all(cases, maps, part, method, seed, len(order) - unread, unread, ctx)


def chosen(cases: Cohort, most: int, seed: int = 0) -> dict[int, set[int]]:
    """By class, rows of the table that are called for it and whose label is known: one a patient, at most ``most``."""
    table = cases.table
    shuffled = np.random.default_rng(seed).permutation(cases.rows)
    plan = {}
    for k in range(len(table.classes)):
        called = shuffled[table.decided[shuffled, k] & table.known[shuffled, k]]
        _, first = np.unique(table.groups[called], return_index=True)
        plan[k] = {int(row) for row in called[np.sort(first)][:most]}
    return plan


def compare_all(
    cases: Cohort,
    maps: Mapping[str, Maps],
    part: str,
    method: str,
    seed: int,
    made: int,
    unread: int,
    ctx: RunContext,
) -> Drift:
    """Every class by every attribute."""
    compared: list[Comparison] = []
    left: list[NotCompared] = []
    for finding, own in maps.items():
        for one in _compare(cases.table, finding, own, seed):
            ctx.check()
            compared.append(one) if isinstance(one, Comparison) else left.append(one)
    adjusted = holm([one.p for one in compared])
    done = [one.model_copy(update={"adjusted": p or 0.0}) for one, p in zip(compared, adjusted, strict=True)]
    return _with_lists(_partial(cases, part, method, seed, made, unread), done, left)


def _with_lists(result: Drift, compared: list[Comparison], left: list[NotCompared]) -> Drift:
    """The result with its comparisons, the surest and largest first."""
    ordered = sorted(compared, key=lambda one: (one.adjusted, one.p, -(one.distance - one.chance)))
    return result.model_copy(update={"comparisons": tuple(ordered), "not_compared": tuple(left)})


def _compare(table: AuditTable, finding: str, maps: Maps, seed: int) -> Iterator[Comparison | NotCompared]:
    """Every group of every attribute against the others; of two groups the first alone."""
    k = table.column(finding)
    for attribute in attributes(table):
        try:
            groups = grouping(table, attribute)
        except DataError as error:
            yield NotCompared(finding=finding, attribute=attribute, group="", n=len(maps.rows), why=str(error))
            continue
        member = groups.member[maps.rows]
        named = np.isin(member, [g for g, label in enumerate(groups.labels) if label not in _NAMELESS])
        present = [g for g in range(len(groups.labels)) if (member[named] == g).any()]
        for g in present[:1] if len(present) == 2 else present:
            yield _one(table, k, attribute, groups.labels[g], maps, named, member == g, seed)


def _one(
    table: AuditTable,
    finding: int,
    attribute: str,
    group: str,
    maps: Maps,
    named: NDArray[np.bool_],
    member: NDArray[np.bool_],
    seed: int,
) -> Comparison | NotCompared:
    name = table.classes[finding]
    rows = maps.rows[named]
    inside, strata = member[named], strata_of(table, finding, rows)
    weights = coefficients(inside, strata)
    n, others = int((weights > 0).sum()), int((weights < 0).sum())
    if min(n, others) < FEW:
        whole = int(inside.sum())
        few = whole if whole < FEW else min(n, others)
        why = f"too few (n={few})"
        if min(whole, len(rows) - whole) >= FEW:
            why += " whose label and score are like those of the other side"
        elif whole >= FEW:
            why = f"too few others (n={len(rows) - whole})"
        return NotCompared(finding=name, attribute=attribute, group=group, n=whole, why=why)
    used = weights != 0
    weights, strata, inside = weights[used], strata[used], inside[used]
    cells = maps.cells[named][used]
    first, second = np.maximum(weights, 0) @ cells, np.maximum(-weights, 0) @ cells
    distance = float(np.abs(first - second).sum() / 2)
    chance = permuted_distances(cells, weights, strata, PERMUTATIONS, seed)
    return Comparison(
        finding=name,
        attribute=attribute,
        group=group,
        n=n,
        others=others,
        distance=round(distance, 4),
        chance=round(float(chance.mean()), 4),
        chance_high=round(float(np.percentile(chance, 95)), 4),
        p=float((1 + (chance >= distance - 1e-6).sum()) / (1 + PERMUTATIONS)),
        moved=_moved(first - second),
        group_map=tuple(int(one) for one in np.rint(first * SCALE)),
        others_map=tuple(int(one) for one in np.rint(second * SCALE)),
        parts=tuple(
            _part_shares(part, values[named][used], inside, strata, seed) for part, values in maps.shares.items()
        ),
    )


def _part_shares(name: str, shares: Array, inside: NDArray[np.bool_], strata: Rows, seed: int) -> PartShares:
    """Of the cases in which the part was found."""
    known = np.isfinite(shares)
    values, member, own = shares[known], inside[known], strata[known]
    weights = coefficients(member, own)
    n, others = int((weights > 0).sum()), int((weights < 0).sum())
    if min(n, others) < FEW:
        few = too_few(min(n, others), "cases with this part found")
        return PartShares(name=name, group=few, others=few, difference=few)
    drawn = np.zeros((REPLICATES, len(values)))
    rng = np.random.default_rng(seed)
    for stratum in np.unique(own):
        for side in (True, False):
            place = np.flatnonzero((own == stratum) & (member == side) & (weights != 0))
            if len(place):
                drawn[:, place] = rng.multinomial(len(place), np.full(len(place), 1 / len(place)), REPLICATES)
    terms = np.stack([np.maximum(weights, 0) * values, np.maximum(-weights, 0) * values, weights * values], axis=1)
    means, replicates = terms.sum(axis=0), drawn @ terms
    group, rest, gap = (
        rounded(percentile(float(means[c]), replicates[:, c], count)) for c, count in enumerate((n, others, n + others))
    )
    return PartShares(name=name, group=group, others=rest, difference=gap)


def _moved(difference: Array) -> tuple[float, float]:
    """From the others' centre of mass to the group's, % of width and height."""
    grid = difference.reshape(CELLS, CELLS)
    middle = (np.arange(CELLS) + 0.5) / CELLS * 100
    return round(float(grid.sum(axis=0) @ middle), 2), round(float(grid.sum(axis=1) @ middle), 2)


def _maps(
    engine: Engine, card: ModelCard, image: Image, method: str, wanted: list[int], with_parts: bool, ctx: RunContext
) -> list[_Made]:
    """(class, (cells, share by part)) of one picture."""
    targets = [card.target(card.classes[k]) for k in wanted]
    request = ExplainRequest(card.id, image, method, targets[0])
    masks = parts_of(image).masks if with_parts else {}
    found: list[_Made] = []
    for k, explanation in zip(wanted, engine.explain_targets(request, targets, ctx), strict=True):
        values, seen = on_image(explanation)
        weight = excess(values, seen)
        if weight is None:
            continue  # a map that is the same everywhere lies nowhere
        cells = np.nan_to_num(cell_means(weight, np.ones_like(seen), CELLS)).ravel()
        shares = {name: float(weight[mask].sum()) for name, mask in masks.items()}
        found.append((k, (cells / cells.sum(), shares)))
    return found


def _gathered(own: list[tuple[int, Array, Mapping[str, float]]]) -> Maps:
    names = dict.fromkeys(name for _, _, shares in own for name in shares)
    return Maps(
        np.array([row for row, _, _ in own], dtype=np.intp),
        np.stack([cells for _, cells, _ in own]),
        {
            # A ruler that was not found is not there; lungs that were not found are there all the same.
            name: np.array([shares.get(name, 0.0 if name in ASIDE else np.nan) for _, _, shares in own])
            for name in names
        },
    )


def _partial(cases: Cohort, part: str, method: str, seed: int, made: int, unread: int) -> Drift:
    return Drift(
        model=cases.card.id,
        weights_sha256=cases.card.weights.sha256,
        part=part,
        method=method,
        seed=seed,
        cases=made,
        unread=unread,
    )
