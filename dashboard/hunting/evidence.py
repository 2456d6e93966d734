"""The trust checks over the cases of a cohort: which methods may be believed with this model, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dashboard.audit.intervals import Estimate
from dashboard.audit.table import Rows
from dashboard.cases import middle_slice
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.patients import mean_over, share_over
from dashboard.hunting.stored import Result, Table, read_result, rounded
from dashboard.hunting.turns import Turn
from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.trust.judge import Judge, Maps
from explainers import get
from explainers.quality.strip import checks, together
from explainers.quality.types import Level, Verdict
from explainers.types import ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.errors import Cancelled, ExplainError, SightlineError
from models.types import Case, Provenance

FILE = "evaluation/trust.json"
TOGETHER = "together"  # id under which the level of all checks together is counted
LEVELS: tuple[Level, ...] = ("ok", "weak", "fails", "not assessable")
METHODS = ("grad-cam", "layer-cam", "integrated-gradients", "saliency", "occlusion")
MOST = 24  # cases, where nobody says


class CheckCounts(Table):
    """One check of one method over the cases.

    Attributes:
        levels: number of cases by level.
        value: mean of the check's number over cases that could be assessed.
        passed: share of those cases at "ok".
    """

    levels: dict[Level, int]
    value: Estimate
    passed: Estimate

    @property
    def assessed(self) -> int:
        return sum(count for level, count in self.levels.items() if level != "not assessable")


class MethodCounts(Table):
    """One method; checks by id, all of them together under ``TOGETHER``."""

    title: str
    params: dict[str, ParamValue]
    checks: dict[str, CheckCounts]


class Evidence(Result):
    """All methods on the same cases, each explained for its leading class.

    Attributes:
        source: for people, which cases.
        cases, patients: that were checked.
        unread: cases left out because they could not be read or explained.
        methods: by id.
    """

    source: str
    cases: int
    patients: int
    seed: int
    methods: dict[str, MethodCounts]
    unread: int = 0


def measure(
    cases: Cohort,
    desk: Desk,
    judge: Judge,
    turn: Turn,
    ctx: RunContext,
    methods: Sequence[str] = METHODS,
    params: Mapping[str, Mapping[str, ParamValue]] | None = None,
    source: str = "cases of the table",
    seed: int = 0,
) -> Evidence:
    """Checks the maps of every case; results so far go to ``ctx.show``.

    Args:
        turn: when the network may be used.
        params: of methods, where not their defaults.

    Raises:
        ExplainError: no case could be checked. Cancelled: the work was stopped.
    """
    settings = {method: dict((params or {}).get(method, {})) for method in methods}
    found: dict[str, list[tuple[Verdict, ...]]] = {method: [] for method in methods}
    rows: list[int] = []
    unread = 0
    ctx.total = max(1, len(cases))
    for number in range(len(cases)):
        try:
            verdicts = turn(lambda own, number=number: _checked(cases, number, desk, judge, settings, own))  # type: ignore[misc]
        except Cancelled:
            raise
        except SightlineError:
            unread += 1
        else:
            rows.append(number)
            for method in methods:
                found[method].append(verdicts.get(method, ()))
            ctx.show(_evidence(cases, rows, unread, found, settings, source, seed))
        ctx.tick()
    if not rows:
        raise ExplainError("No map of these cases could be checked; see that the model reads these images.")
    return _evidence(cases, rows, unread, found, settings, source, seed)


def stored(card: ModelCard) -> Evidence | None:
    """What is stored with a model."""
    return read_result(card, FILE, Evidence)


def _checked(
    cases: Cohort, number: int, desk: Desk, judge: Judge, settings: Mapping[str, dict[str, ParamValue]], ctx: RunContext
) -> dict[str, tuple[Verdict, ...]]:
    image, card = cases.image(number), cases.card
    (prediction,) = desk.engine.predict(card.id, [image], ctx)
    target = card.target(card.classes[prediction.leading])
    explained: dict[str, tuple[ExplainRequest, Explanation]] = {}
    for method, given in settings.items():
        request = ExplainRequest(card.id, image, method, target, given)
        try:
            explained[method] = request, desk.find(desk.engine.key(request)) or desk.engine.explain(request, ctx)
        except ExplainError:  # a method that cannot explain this network
            continue
    if not explained:
        raise ExplainError("None of the methods can explain this network.")
    case = Case("cohort", "cohort", image, provenance=Provenance("a table", sha256="", reader="table"))
    maps = Maps(case, middle_slice(image), card, explained)
    return dict(zip(explained, judge.work(maps, ctx), strict=True))


def _evidence(
    cases: Cohort,
    rows: Sequence[int],
    unread: int,
    found: Mapping[str, Sequence[tuple[Verdict, ...]]],
    settings: Mapping[str, dict[str, ParamValue]],
    source: str,
    seed: int,
) -> Evidence:
    groups = cases.table.groups[cases.rows[np.asarray(rows)]]
    return Evidence(
        model=cases.card.id,
        weights_sha256=cases.card.weights.sha256,
        source=source,
        cases=len(rows),
        patients=len(np.unique(groups)),
        seed=seed,
        unread=unread,
        methods={
            method: MethodCounts(
                title=get(method).spec.title, params=given, checks=count_levels(found[method], groups, seed)
            )
            for method, given in settings.items()
        },
    )


def count_levels(verdicts: Sequence[Sequence[Verdict]], groups: Rows, seed: int = 0) -> dict[str, CheckCounts]:
    """Counts and means by check, all of them together under ``TOGETHER``; intervals over patients.

    Args:
        verdicts: of each case.
        groups: (n,) number of each case's patient.
    """
    found: dict[str, CheckCounts] = {}
    for check in checks():
        rows = [next((one for one in case if one.check == check.spec.id), None) for case in verdicts]
        levels: list[Level] = ["not assessable" if one is None else one.level for one in rows]
        values = [np.nan if one is None or one.value is None else one.value for one in rows]
        found[check.spec.id] = _counted(levels, values, groups, seed)
    whole: list[Level] = []
    for case in verdicts:
        judged = [one for one in case if one.level != "not assessable"]
        whole.append(together(judged) if judged else "not assessable")
    found[TOGETHER] = _counted(whole, [np.nan] * len(whole), groups, seed)
    return found


def _counted(levels: Sequence[Level], values: Sequence[float], groups: Rows, seed: int) -> CheckCounts:
    known = np.array([level != "not assessable" for level in levels])
    passed = np.array([level == "ok" for level in levels])
    numbers = np.where(known, np.asarray(values, dtype=np.float64), np.nan)
    return CheckCounts(
        levels={level: sum(one == level for one in levels) for level in LEVELS},
        value=rounded(mean_over(numbers, groups, seed)),
        passed=rounded(share_over(passed[known], groups[known], seed)),
    )
