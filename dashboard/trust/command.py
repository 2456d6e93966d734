"""``python -m dashboard trust``: an image in, its maps and the evidence for and against each out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dashboard.cases import middle_slice, readable
from dashboard.folder_runs.output import write_files
from dashboard.folder_runs.work import open_model
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.reports.files import manifest_bytes, manifest_entry, npz_bytes, scores_of
from dashboard.reports.trust import map_record
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.settings import settings
from dashboard.trust.judge import Judge, Maps
from dashboard.trust.places import Mask
from dashboard.trust.store import VerdictStore
from explainers import get
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError, ExplainError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Case, Region

ShowProgress = Callable[[int, int | None], None]
RECORD = "trust.json"


@dataclass(frozen=True, eq=False)
class Trusted:
    """What was found.

    Attributes:
        levels: the worst level by method.
        failures: methods without a map, and why.
        files: written.
    """

    target: str
    levels: dict[str, str]
    failures: dict[str, str]
    files: tuple[Path, ...]


def trust_image(
    image: Path,
    model: str,
    methods: Sequence[str],
    target: str | None,
    out: Path,
    slice_index: int | None = None,
    mask: Path | None = None,
    seed: int = 0,
    show: ShowProgress = lambda done, total: None,
) -> Trusted:
    """Maps of one image by several methods, every check of each; what an earlier call found is found again.

    Args:
        target: class; None for the leading one.
        slice_index: of a volume; None for the middle one.
        mask: image file whose non-zero pixels are where the finding is known to be.
        show: called with passes done and in all.

    Raises:
        SightlineError, OSError: the image, model, method, mask or folder is unusable.
    """
    chosen = list(dict.fromkeys(methods))
    if not chosen:
        raise ExplainError("There is no method to check; give one or more, separated by commas.")
    for method in chosen:
        get(method)
    case = read_case(image, limits=LOCAL_LIMITS)
    index = middle_slice(case.image) if slice_index is None else slice_index
    if not 0 <= index < case.image.depth:
        raise DataError(f"There is no slice {index}; the image has slices 0 to {case.image.depth - 1}.")
    place = None if mask is None else _place_in(mask, case)
    engine, card = open_model(model)
    config = settings()
    desk = Desk(engine, ResultStore(config.cache / "results", config.cache_mb))
    judge = Judge(desk, VerdictStore(config.cache / "verdicts", config.verdicts_mb))
    try:
        out.mkdir(parents=True, exist_ok=True)
        return _worked_out(desk, judge, card, case, index, place, chosen, target, out, seed, show)
    finally:
        desk.close()


def _worked_out(
    desk: Desk,
    judge: Judge,
    card: ModelCard,
    case: Case,
    index: int,
    place: Mask | None,
    methods: Sequence[str],
    target: str | None,
    out: Path,
    seed: int,
    show: ShowProgress,
) -> Trusted:
    plane, owner = case.image.slice(index), secrets.token_hex(8)
    prediction = desk.predict(card.id, plane)
    wanted = card.target(card.classes[prediction.leading] if target is None else target)
    if place is not None:
        case = replace(case, regions=(Region(readable(wanted.name), place),))
    explained: dict[str, tuple[ExplainRequest, Explanation]] = {}
    failures: dict[str, str] = {}
    for method in methods:
        request = ExplainRequest(card.id, plane, method, wanted, {}, seed)
        try:
            explained[method] = request, desk.in_turn(request, owner, RunContext())
        except ExplainError as error:
            failures[method] = str(error)
    if not explained:
        raise ExplainError(f"No map could be made: {' '.join(failures.values())}")
    ctx = RunContext(on_progress=lambda _: show(ctx.ticks, ctx.total))
    verdicts = dict(zip(explained, judge.work(Maps(case, index, card, explained), ctx), strict=True))
    entries: list[dict[str, Any]] = []
    contents: dict[str, bytes] = {}
    for method, (_, made) in explained.items():
        name = f"{method}.npz"
        contents[name] = npz_bytes(made)
        entries.append({"file": name, **manifest_entry(made, case, index), "trust": map_record(verdicts[method])})
    contents[RECORD] = manifest_bytes(entries, scores=scores_of(prediction), failures=failures)
    names = (*(f"{method}.npz" for method in methods), RECORD)
    files = tuple(out / name for name in write_files(out, contents, names))
    levels = {method: str(map_record(found)["level"]) for method, found in verdicts.items()}
    return Trusted(wanted.name, levels, failures, files)


def _place_in(path: Path, case: Case) -> Mask:
    """(D, H, W) what a mask file marks on the case."""
    values = read_case(path, limits=LOCAL_LIMITS).image.values
    if values.shape[1:] != case.image.values.shape[1:]:
        raise DataError(
            f"The mask {path.name} is {values.shape[1:]} and the image {case.image.values.shape[1:]}; give a mask of that image."
        )
    found: Mask = (values != 0).any(axis=0)
    if not found.any():
        raise DataError(f"The mask {path.name} marks nothing; leave --mask out where no place is known.")
    return found
