"""``python -m dashboard abcd``: a dermoscopic picture in, its measures out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from dashboard.folder_runs.output import write_files
from dashboard.quantify.abcd_ranges import Outline, Ranges, read_ranges, shares_below
from dashboard.quantify.dermoscopy import NOT_A_DIAGNOSIS, Abcd, abcd, outline_of
from dashboard.quantify.grid import BoolArray
from dashboard.settings import ZOO
from models.context import RunContext
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Image, Modality

MODEL = "skin-lesion-outline"
JSON_FILE, MASK_FILE = "abcd.json", "outline.png"


@dataclass(frozen=True, eq=False)
class Measured:
    """The measures and the content of the file that tells them."""

    found: Abcd
    facts: dict[str, Any]


def abcd_path(picture: Path, outline: Path | None, model: str, out: Path) -> Measured:
    """Measure the lesion of a picture and write ``abcd.json`` and the outline to a folder.

    Args:
        outline: mask picture, bright in the lesion; None to let the model outline it.

    Raises:
        DataError, ModelError, OSError: a file, the model or the folder is unusable, or there is no lesion to measure.
    """
    case = read_case(picture, modality=Modality.DERMOSCOPY, limits=LOCAL_LIMITS)
    warnings: tuple[str, ...] = ()
    kind: Outline = "model" if outline is None else "reference"
    if outline is not None:
        mask, by, folder = mask_of_picture(outline), "supplied mask", ZOO / MODEL
    else:
        from dashboard.folder_runs.work import open_model  # torch: seconds that a mask can do without

        engine, card = open_model(model)
        if card.task != "segmentation":
            raise DataError(f"Model {card.id} gives no outline; use one that segments, such as {MODEL}.")
        (prediction,) = engine.predict(card.id, [case.image], RunContext())
        mask, folder, warnings = outline_of(prediction), card.folder, prediction.warnings
        by = f"model {card.id} (weights {card.weights.sha256[:12]})"
    found = abcd(case.image, mask)
    facts = facts_of(found, case.image, by, kind, read_ranges(folder))
    facts["warnings"] = [*warnings, *facts["warnings"]]
    facts["sha256"] = {"picture": case.provenance.sha256}
    buffer = BytesIO()
    PILImage.fromarray(found.mask.astype(np.uint8) * 255).save(buffer, format="PNG")
    told = (json.dumps(facts, indent=2) + "\n").encode()
    write_files(out, {MASK_FILE: buffer.getvalue(), JSON_FILE: told})
    return Measured(found, facts)


def facts_of(found: Abcd, image: Image, by: str, kind: Outline, ranges: Ranges | None) -> dict[str, Any]:
    """The content of abcd.json; null where a number cannot be had."""
    classes = () if ranges is None else tuple(ranges.by.get(kind, {}))
    below = {name: shares_below(found, ranges, kind, name) for name in classes if ranges is not None}
    height, width = image.plane_shape
    return {
        "note": NOT_A_DIAGNOSIS,
        "measures": {
            one.id: {
                "part": one.part,
                "title": one.title,
                "value": None if one.value is None else round(one.value, 6),
                "unit": one.unit,
                "meaning": one.meaning,
                "reason": one.reason or None,
                "share_below": {name: round(own[one.id], 4) for name, own in below.items() if one.id in own},
            }
            for one in found.measures
        },
        "colour_shares": {name: round(share, 6) for name, share in found.colours.shares.items()},
        "axes": found.axes
        and {
            "degrees": [found.axes.degrees, found.axes.degrees + 90],
            "centre": [round(place, 3) for place in reversed(found.axes.centre)],
        },
        "area_share": round(float(found.mask.mean()), 6),
        "compared_with": None if ranges is None else ranges.made_of,
        "outline_by": by,
        "pixels": [width, height],
        "warnings": list(found.notes),
    }


def mask_of_picture(path: Path) -> BoolArray:
    """(H, W) where a picture is brighter than half its brightest. Raises DataError for a volume or an empty picture."""
    image = read_case(path, modality=Modality.OTHER, limits=LOCAL_LIMITS).image
    if image.is_volume:
        raise DataError("The outline is a volume; give one plane picture, bright in the lesion.")
    values = image.values.mean(axis=0)
    if values.max() <= values.min():
        raise DataError(
            "The outline is the same everywhere; give a picture that is bright in the lesion and dark outside."
        )
    return np.asarray(values > values.max() / 2)
