"""``python -m dashboard quantify``: files in, quantities out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dashboard.quantify.grid import BoolArray, check_fits, ct_values, mask_of, upright
from dashboard.quantify.lungs import Lungs, lungs_of_mask, segment_lungs
from dashboard.quantify.report import JSON_FILE, write_report
from dashboard.quantify.study import Study, study_of
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Case, Image, Modality

ShowProgress = Callable[[int, int | None], None]
MODEL = "pneumonia-ct"
_LOWEST_AIR_HU, _AIR_HU, _HIGHEST_HU = -5000.0, -500.0, 40_000.0


@dataclass(frozen=True, eq=False)
class Quantified:
    """A study and the files that tell it."""

    study: Study
    files: tuple[str, ...]


def quantify_paths(
    scan: Path | None,
    lesions: Path | None,
    lungs: Path | None,
    model: str,
    out: Path,
    connectivity: int = 26,
    minimum_mm3: float | None = None,
    show: ShowProgress = lambda done, total: None,
) -> Quantified:
    """Quantities of a CT, of a CT with supplied masks, or of masks alone, written to a folder.

    Args:
        scan: CT: NIfTI, a DICOM folder or zip. None with ``lesions`` alone.
        lesions: mask of the lesions; without it the model marks them.
        lungs: mask of the lungs (one label, or one for each); without it they are segmented.
        minimum_mm3: smaller lesions are left out; None for 0 with a supplied mask, 100 with a model.
        show: called with slices done and in all while the model works.

    Raises:
        DataError, ModelError, OSError: a file, the model or the folder is unusable, masks do not fit the scan, or the
            lungs cannot be had and the model needs them.
    """
    if scan is None and lesions is None:
        raise DataError("There is nothing to quantify: give a CT, or a mask with --lesions.")
    digests: dict[str, str] = {}
    image, notes = (None, ()) if scan is None else _scan(scan, digests)
    marked = None if lesions is None else _mask(lesions, "The lesion mask", image, digests, "lesions")
    reference = image or marked
    lung_image = None if lungs is None else _mask(lungs, "The lung mask", reference, digests, "lungs")
    if reference is None or reference.geometry is None:
        raise DataError("There is no grid to measure on: give a CT, or a mask with --lesions.")

    found: Lungs | None = None
    if lung_image is not None and lung_image.geometry is not None:
        found = lungs_of_mask(mask_of(lung_image, "The lung mask"), lung_image.geometry)
    elif image is not None:
        found, notes = _segmented(image, notes, needed=marked is None)

    infected: BoolArray
    if marked is not None:
        infected, by, least = mask_of(marked, "The lesion mask") > 0, "supplied mask", 0.0
    elif image is not None and found is not None:
        infected, by, least, more = _by_model(image, found, model, show)
        notes += more
    study = study_of(
        infected,
        reference.geometry,
        by,
        image,
        found,
        lungs_grow=lungs is None,
        connectivity=connectivity,  # type: ignore[arg-type]
        minimum_mm3=least if minimum_mm3 is None else minimum_mm3,
        warnings=notes,
    )
    first = scan or lesions
    like = first if first is not None and first.name.lower().endswith((".nii", ".nii.gz")) else None
    return Quantified(study, write_report(study, out, like, sha256=digests))


def _scan(path: Path, digests: dict[str, str]) -> tuple[Image, tuple[str, ...]]:
    """An upright CT in HU, and what its reader noted."""
    case = _read(path, "The scan", None)
    digests["scan"] = case.provenance.sha256
    image = case.image
    low, high = float(image.values.min()), float(image.values.max())
    looks_like_hu = _LOWEST_AIR_HU <= low <= _AIR_HU and high <= _HIGHEST_HU
    if image.unit == "stored value" and image.modality is Modality.UNKNOWN and looks_like_hu:
        image = replace(image, unit="HU", modality=Modality.CT)  # resampled, so that its values are not whole
    turned = upright(image)
    ct_values(turned)
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
    if any(note.startswith("Volume 1 of") for note in case.provenance.notes):
        raise DataError(f"{what} holds several volumes (it is 4-D); save the one to measure as a 3-D file.")
    return case


def _segmented(image: Image, notes: tuple[str, ...], needed: bool) -> tuple[Lungs | None, tuple[str, ...]]:
    """The lungs, or None and the reason, where lesions can be measured without them."""
    try:
        return segment_lungs(image), notes
    except DataError as error:
        if needed:
            raise
        return None, (*notes, f"Nothing is said in percent of the lungs. {error}")


def _by_model(
    image: Image, lungs: Lungs, model: str, show: ShowProgress
) -> tuple[BoolArray, str, float, tuple[str, ...]]:
    """What the model marks, in words by whom, the least size, and warnings."""
    from dashboard.folder_runs.runs import open_model  # torch: seconds that masks can do without
    from dashboard.quantify.by_model import MINIMUM_MM3, lesions_by_model

    engine, card = open_model(model)
    found, warnings = lesions_by_model(image, lungs, engine, card, show)
    return (
        found,
        f"model {card.id} (weights {card.weights.sha256[:12]}), slice by slice in the lungs",
        MINIMUM_MM3,
        warnings,
    )


def answer_of(done: Quantified, out: Path) -> dict[str, object]:
    """The line for standard output."""
    both = done.study.both
    return {
        "lesion_count": len(done.study.lesions.items),
        "total_lesion_ml": round(done.study.lesions.total_ml, 6),
        "involvement_percent": None if both is None else round(both.involvement_percent, 6),
        "severity": None if both is None else both.severity_words,
        "quantities": str(out / JSON_FILE),
    }
