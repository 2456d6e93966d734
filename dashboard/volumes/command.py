"""``python -m dashboard volume``: a scan in, scores, a map and its table out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dashboard.cases import middle_slice
from dashboard.folder_runs.output import write_files
from dashboard.folder_runs.work import open_model
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.settings import settings
from dashboard.volumes.depth import explain_around, hide_blocks
from dashboard.volumes.export import FACTS_FILE, MAP_FILE, TABLE_FILE, facts_bytes, map_nifti, slices_csv
from dashboard.volumes.scan import explain_slices
from dashboard.volumes.scores import score_slices
from dashboard.volumes.types import Kind, VolumeRequest, VolumeResult
from explainers.types import ParamValue
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Case, Target

ShowProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, eq=False)
class Explained:
    """A result, what was asked for, the files written, and what the reader of the scan noted."""

    request: VolumeRequest
    result: VolumeResult
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def explain_volume(
    scan: Path,
    model: str,
    kind: Kind,
    method: str,
    target: str | None,
    step: int,
    at: int | None,
    out: Path,
    passes: int = 6000,
    seed: int = 0,
    show: ShowProgress = lambda done, total: None,
) -> Explained:
    """Every slice of a scan scored and explained, written to a folder; what an earlier call found is found again.

    Args:
        scan: NIfTI, a DICOM folder or zip of one series.
        kind, method: as of :class:`VolumeRequest`.
        target: class; None for the leading one of the middle slice.
        step: explain every so many slices.
        at: slice whose score "around" and "blocks" of a network of neighbouring slices explain; None for the one with the
            highest score.
        passes: that "blocks" may take.
        show: called with passes done and in all.

    Raises:
        SightlineError, OSError: the scan, the model, the method or the folder is unusable.
    """
    case = read_case(scan, limits=LOCAL_LIMITS)
    image = case.image
    if not image.is_volume:
        raise DataError("This file holds a single slice; give a whole scan, or use the command explain.")
    if at is not None and not 0 <= at < image.depth:
        raise DataError(f"There is no slice {at}; the scan has slices 0 to {image.depth - 1}.")
    engine, card = open_model(model)
    config = settings()
    desk = Desk(engine, ResultStore(config.cache / "results", config.cache_mb))
    try:
        out.mkdir(parents=True, exist_ok=True)
        ctx = RunContext(on_progress=lambda _: show(ctx.ticks, ctx.total))
        request, result = _worked_out(desk, card, case, kind, method, target, step, at, passes, seed, ctx)
        files = _written(out, scan, request, result, card, case)
    finally:
        desk.close()
    return Explained(request, result, files, case.provenance.notes)


def _worked_out(
    desk: Desk,
    card: ModelCard,
    case: Case,
    kind: Kind,
    method: str,
    target: str | None,
    step: int,
    at: int | None,
    passes: int,
    seed: int,
    ctx: RunContext,
) -> tuple[VolumeRequest, VolumeResult]:
    image, owner = case.image, secrets.token_hex(8)
    chosen = _target(desk, card, case, target)
    scores = score_slices(desk, card.id, image, owner, RunContext())
    highest = scores.highest(chosen.index)
    place = at if at is not None else highest if highest is not None else middle_slice(image)
    params: dict[str, ParamValue] = {"passes": passes} if kind == "blocks" else {}
    request = VolumeRequest(card.id, image, chosen, kind, method, range(0, image.depth, step), place, params, seed)
    if kind == "slices":
        return request, explain_slices(desk, request, owner, ctx, scores=scores)
    work = explain_around if kind == "around" else hide_blocks
    return request, work(desk, request, owner, ctx, scores=scores)


def _target(desk: Desk, card: ModelCard, case: Case, name: str | None) -> Target:
    if name is not None:
        return card.target(name)
    prediction = desk.predict(card.id, case.image.slice(middle_slice(case.image)))
    return card.target(card.classes[prediction.leading])


def _written(
    out: Path, scan: Path, request: VolumeRequest, result: VolumeResult, card: ModelCard, case: Case
) -> tuple[Path, ...]:
    contents = {TABLE_FILE: slices_csv(request, result), FACTS_FILE: facts_bytes(request, result, card, case)}
    if result.map is not None and request.image.geometry is not None:
        contents[MAP_FILE] = map_nifti(result.map, request.image, scan)
    return tuple(out / name for name in write_files(out, contents, (MAP_FILE, TABLE_FILE, FACTS_FILE)))
