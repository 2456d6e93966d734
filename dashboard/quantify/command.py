"""``python -m dashboard quantify``: files in, quantities out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from dashboard.quantify.assess import Marker, ShowProgress, assess
from dashboard.quantify.followup import FollowUp, Visit, follow_up
from dashboard.quantify.followup_report import summary, write_follow_up
from dashboard.quantify.grid import check_fits, check_single, ct_values, upright
from dashboard.quantify.report import ALL_FILES, JSON_FILE, PRIOR_FOLDER, write_report
from dashboard.quantify.study import Study
from models.context import RunContext
from models.errors import DataError, SightlineError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Case, Image, Modality

MODEL = "pneumonia-ct"
_LOWEST_AIR_HU, _AIR_HU, _HIGHEST_HU = -5000.0, -500.0, 40_000.0


@dataclass(frozen=True)
class Files:
    """What belongs to one study: a CT, or a mask of the lesions alone, with masks if they are supplied."""

    scan: Path | None = None
    lesions: Path | None = None
    lungs: Path | None = None

    @property
    def like(self) -> Path | None:
        """The NIfTI file whose order of axes the written masks take."""
        first = self.scan or self.lesions
        return first if first is not None and first.name.lower().endswith((".nii", ".nii.gz")) else None


@dataclass(frozen=True, eq=False)
class Quantified:
    """A study, what changed since the prior one, and the files that tell it.

    Attributes:
        refused: why the prior study could not be measured or compared, in one sentence.
    """

    study: Study
    files: tuple[str, ...]
    followup: FollowUp | None = None
    refused: str = ""


def quantify_paths(
    now: Files,
    out: Path,
    *,
    prior: Files | None = None,
    model: str = MODEL,
    connectivity: int = 26,
    minimum_mm3: float | None = None,
    seed: int = 0,
    show: ShowProgress = lambda done, total: None,
) -> Quantified:
    """Quantities of a CT, of a CT with supplied masks, or of masks alone, written to a folder.

    A prior study that cannot be measured or compared costs the comparison alone.

    Args:
        now: without a lesion mask the model marks them; without a lung mask they are segmented.
        prior: an earlier study of the patient; its own quantities go into the folder "prior".
        minimum_mm3: smaller lesions are left out; None for 0 with a supplied mask, 100 with a model.
        seed: of the registration.
        show: called with slices done and in all while the model works.

    Raises:
        DataError, ModelError, OSError: a file, the model or the folder is unusable, masks do not fit the scan, or the
            lungs cannot be had and the model needs them.
    """
    if now.scan is None and now.lesions is None:
        raise DataError("There is nothing to quantify: give a CT, or a mask with --lesions.")
    if prior is not None and (prior.scan is None) != (now.scan is None):
        raise DataError("A scan cannot be compared with a mask alone; give both scans, or both masks.")
    if prior is not None:
        _check_apart(prior, out)
    marker = _marker(model, show)
    current, digests = _visit(now, marker, connectivity, minimum_mm3)
    files = write_report(current.study, out, now.like, sha256=digests)
    if prior is None:
        return Quantified(current.study, files)
    try:
        before, prior_digests = _visit(prior, marker, connectivity, minimum_mm3, "The prior ")
        found = follow_up(current, before, seed)
    except SightlineError as error:
        reason = {"compared": False, "reason": str(error)}
        files = write_report(current.study, out, now.like, sha256=digests, followup=reason)
        return Quantified(current.study, files, refused=str(error))
    files = write_report(current.study, out, now.like, sha256=digests, followup=summary(found))
    files += tuple(
        f"{PRIOR_FOLDER}/{name}"
        for name in write_report(before.study, out / PRIOR_FOLDER, prior.like, sha256=prior_digests)
    )
    return Quantified(current.study, files + write_follow_up(found, current.study, out, now.like), found)


def _check_apart(prior: Files, out: Path) -> None:
    """Raises DataError where the report on the current study would overwrite a file of the prior one."""
    ours = {(out / name).resolve() for name in ALL_FILES}
    for path in (prior.scan, prior.lesions, prior.lungs):
        if path is not None and path.resolve() in ours:
            raise DataError(f"{path.name} of the prior would be overwritten by this report; choose another --out.")


def _visit(
    files: Files, marker: Marker, connectivity: int, minimum_mm3: float | None, which: str = "The "
) -> tuple[Visit, dict[str, str]]:
    """A study of some files, and their digests."""
    digests: dict[str, str] = {}
    scan, notes = (None, ()) if files.scan is None else _scan(files.scan, f"{which}scan", digests)
    lesions = lungs = None
    if files.lesions is not None:
        lesions = _mask(files.lesions, f"{which}lesion mask", scan, digests, "lesions")
    if files.lungs is not None:
        lungs = _mask(files.lungs, f"{which}lung mask", scan or lesions, digests, "lungs")
    study = assess(scan, lesions, lungs, marker, connectivity, minimum_mm3, notes)
    return Visit(study, scan), digests


def _scan(path: Path, what: str, digests: dict[str, str]) -> tuple[Image, tuple[str, ...]]:
    """An upright CT in HU, and what its reader noted."""
    case = _read(path, what, None)
    digests["scan"] = case.provenance.sha256
    image = case.image
    low, high = float(image.values.min()), float(image.values.max())
    looks_like_hu = _LOWEST_AIR_HU <= low <= _AIR_HU and high <= _HIGHEST_HU
    if image.unit == "stored value" and image.modality is Modality.UNKNOWN and looks_like_hu:
        image = replace(image, unit="HU", modality=Modality.CT)  # resampled, so that its values are not whole
    turned = upright(image, what)
    ct_values(turned, what)
    return turned, case.provenance.notes


def _mask(path: Path, what: str, grid: Image | None, digests: dict[str, str], name: str) -> Image:
    """An upright mask that fits the grid, where there is one."""
    case = _read(path, what, Modality.OTHER)
    digests[name] = case.provenance.sha256
    image = upright(case.image, what)
    if grid is not None:
        check_fits(image, grid, what)
    return image


def _read(path: Path, what: str, modality: Modality | None) -> Case:
    case = read_case(path, modality=modality, limits=LOCAL_LIMITS)
    check_single(case, what)
    return case


def _marker(model: str, show: ShowProgress) -> Marker:
    """Opens the model when first asked."""

    @cache
    def opened() -> Marker:
        from dashboard.folder_runs.work import open_model  # torch: seconds that masks can do without
        from dashboard.quantify.by_model import model_marker

        engine, card = open_model(model)
        return model_marker(lambda slices: engine.predict(card.id, slices, RunContext()), card, show)

    return lambda scan, lungs: opened()(scan, lungs)


def answer_of(done: Quantified, out: Path) -> dict[str, object]:
    """The line for standard output."""
    both = done.study.both
    facts: dict[str, object] = {
        "lesion_count": len(done.study.lesions.items),
        "total_lesion_ml": round(done.study.lesions.total_ml, 6),
        "involvement_percent": None if both is None else round(both.involvement_percent, 6),
        "severity": None if both is None else both.severity_words,
        "quantities": str(out / JSON_FILE),
    }
    if done.refused:
        facts["followup"] = {"compared": False}
    if done.followup is not None:
        facts["followup"] = {"compared": not done.followup.reason} | done.followup.counts
    return facts
