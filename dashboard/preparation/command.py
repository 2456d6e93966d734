"""``python -m dashboard prepare``: a scan in, the prepared scan and its trace out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dashboard.cases import middle_slice
from dashboard.folder_runs.output import write_files
from dashboard.nifti import nifti_bytes
from dashboard.preparation.outcome import Outcome, Question, prepare_image
from dashboard.preparation.presets import preset, preset_for
from dashboard.preparation.report import IMAGE_FILE, JSON_FILE, MAP_FILE, files_before, files_of
from dashboard.preparation.trace import StepChoice
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.project import input_to_image
from models.types import Image, Modality

if TYPE_CHECKING:
    from dashboard.serving.types import Engine

ShowProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan that was prepared, the files that tell it, and what the reader of the scan noted."""

    outcome: Outcome
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def prepare_path(
    path: Path,
    out: Path,
    steps: Sequence[str] = (),
    preset_id: str = "",
    settings: Mapping[str, Mapping[str, str]] | None = None,
    model: str = "",
    method: str = "",
    slice_index: int | None = None,
    reference: Path | None = None,
    modality: Modality | None = None,
    seed: int = 0,
    show: ShowProgress = lambda done, total: None,
) -> Prepared:
    """Prepare a scan and write the result to a folder.

    Args:
        steps: step ids in their order; empty for those of the preset.
        preset_id: "" for the one that suits the image.
        settings: of the steps, by step id and name.
        model: id or folder; its answer is asked with and without each step, and its own input steps are recorded.
        method: an explanation of the model's answer for the prepared slice, written on the grid of the scan given.
        slice_index: of the scan given, which the model is asked about; None for the middle one.
        show: called with steps and answers done and in all.

    Raises:
        DataError, ModelError, ExplainError, OSError: a file, a step, the model or the folder is unusable.
    """
    case = read_case(path, modality=modality, limits=LOCAL_LIMITS)
    image = case.image
    choices = _chosen(image, steps, preset_id, settings or {})
    native_slice = middle_slice(image) if slice_index is None else slice_index
    fixed = None if reference is None else read_case(reference, modality=image.modality, limits=LOCAL_LIMITS).image
    if method and not model:
        raise DataError("An explanation needs a model; name it with --model.")
    ctx = RunContext(on_progress=lambda share: show(round(share * ctx.total), ctx.total))
    engine, card, question = None, None, None
    if model:
        from dashboard.folder_runs.work import open_model  # torch: seconds that the steps can do without

        engine, card = open_model(model)
        question = Question(card, lambda plane: engine.predict(card.id, [plane], RunContext())[0])
    done = prepare_image(image, choices, native_slice, question, fixed, seed, ctx)
    if done.missing:
        raise DataError(done.missing)
    notes = case.provenance.notes
    about: dict[str, object] = {"slice": native_slice, "sha256": case.provenance.sha256, "notes": list(notes)}
    more = {}
    if engine is not None and card is not None:
        about["model"] = {"id": card.id, "weights_sha256": card.weights.sha256}
        if method:
            more[MAP_FILE], about["map"] = _map(done, engine, card, method, seed, path)
    given = {one.resolve() for one in (path, reference) if one is not None}
    stale = [name for name in files_before(out) if (out / name).resolve() not in given]
    return Prepared(done, write_files(out, files_of(done, path, more, **about), stale), notes)


def _map(
    done: Outcome, engine: Engine, card: ModelCard, method: str, seed: int, like: Path
) -> tuple[bytes, dict[str, object]]:
    """An explanation of the prepared slice as a file on the grid of the scan, and what it is."""
    from dashboard.serving.types import ExplainRequest
    from explainers.reduce import reduce_channels

    trace, index = done.trace, done.trace.slice_for(done.native_slice)
    leading = 0 if done.effects is None else done.effects.leading
    target = card.target(card.classes[leading])
    request = ExplainRequest(card.id, trace.image.slice(index), method, target, seed=seed)
    found = engine.explain(request, RunContext())
    values = input_to_image(reduce_channels(found.attribution.values), found.grid_to_image, found.image_shape)
    laid = trace.slice_to_native(values, index)
    facts: dict[str, object] = {
        "file": MAP_FILE,
        "method": method,
        "target": target.name,
        "grid": "of the scan given",
        "share_of_slice_known": round(trace.share_known(done.native_slice), 6),
        "elsewhere": "0 where the prepared slice does not reach",
    }
    return nifti_bytes(np.nan_to_num(laid), trace.native.geometry, like), facts


def parse_settings(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Settings from words like "bias-field.shrink=2". Raises DataError for any other."""
    found: dict[str, dict[str, str]] = {}
    for word in given:
        name, equals, value = word.partition("=")
        step, dot, setting = name.partition(".")
        if not (equals and dot and step and setting):
            raise DataError(f"The setting {word!r} is not of the form STEP.NAME=VALUE, as in bias-field.shrink=2.")
        found.setdefault(step, {})[setting] = value
    return found


def answer_of(done: Prepared, out: Path) -> dict[str, object]:
    """The line for standard output."""
    verdicts = {record.step_id: record.verdict.level for record in done.outcome.records}
    answer: dict[str, object] = {"steps": verdicts, "prepared": str(out / IMAGE_FILE), "trace": str(out / JSON_FILE)}
    effects = done.outcome.effects
    if effects is not None:
        answer["flipping"] = [row.step_id for row in effects.flipping]
    return answer


def _chosen(
    image: Image, steps: Sequence[str], preset_id: str, settings: Mapping[str, Mapping[str, str]]
) -> tuple[StepChoice, ...]:
    listed = (preset(preset_id) if preset_id else preset_for(image)).choices
    choices = tuple(StepChoice(step) for step in steps) if steps else tuple(one for one in listed if one.on)
    for step in settings:
        if step not in {choice.step_id for choice in choices}:
            raise DataError(f"There are settings for the step {step!r}, which is not run; add it to --steps.")
    return tuple(replace(choice, params=settings.get(choice.step_id, choice.params)) for choice in choices)
