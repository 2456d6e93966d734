"""Operating points with a name, kept beside the results so that the Case page can use them.

One JSON file a model and name, ``FOLDER/MODEL_ID/NAME.json``; scores of no installed model go under "no-model"::

    {"format": 1, "name": "screening", "model_id": "chest-xray-14",
     "classes": {"Edema": {"threshold": 0.12, "chosen": "sensitivity of at least 0.90", "table": "NIH test",
                           "table_digest": "<sha256>", "n": 22433, "date": "2025-01-31"}}}

A threshold acts on calibrated probabilities; ``chosen`` says how it was found, ``n`` on how many labelled cases.
Classes that exclude each other have none: there the largest score / threshold is decided, not one class alone.
"""

from __future__ import annotations

import re
import secrets
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import DataError

NO_MODEL = "no-model"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Point(_Record):
    """The operating point of one class."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    chosen: str
    table: str
    table_digest: str
    n: int
    date: str = Field(default_factory=lambda: date.today().isoformat())


class OperatingPoints(_Record):
    """A file of operating points."""

    format: Literal[1] = 1
    name: str
    model_id: str
    classes: dict[str, Point]


def save_point(folder: Path, model_id: str, name: str, finding: str, point: Point) -> OperatingPoints:
    """Add the point of one class to the named file, in the place of an earlier one; written whole or not at all.

    Raises:
        DataError: the name is no plain name, or the file cannot be written.
    """
    path = _path(folder, model_id, name)
    before = load_points(folder, model_id, name).classes if path.is_file() else {}
    found = OperatingPoints(name=name, model_id=model_id, classes={**before, finding: point})
    draft = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DataError(f"The operating point {name!r} could not be saved ({error.strerror}).") from None
    return found


def load_points(folder: Path, model_id: str, name: str) -> OperatingPoints:
    """Raises DataError where there is no such file, or it is not one of these."""
    path = _path(folder, model_id, name)
    try:
        return OperatingPoints.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(list_points(folder, model_id)) or "none"
        raise DataError(
            f"There is no operating point {name!r} for {model_id or NO_MODEL}; there are: {known}."
        ) from None
    except (OSError, UnicodeDecodeError, ValidationError):
        raise DataError(
            f"The operating-point file {path.name!r} cannot be read; delete it and save it again."
        ) from None


def list_points(folder: Path, model_id: str) -> tuple[str, ...]:
    """Names saved for a model."""
    return tuple(sorted(path.stem for path in (folder / (model_id or NO_MODEL)).glob("*.json")))


def points_for(folder: Path, model_id: str, name: str) -> dict[str, float]:
    """Thresholds by class; classes that the file does not name keep those of the card. Raises DataError."""
    return {finding: point.threshold for finding, point in load_points(folder, model_id, name).classes.items()}


def _path(folder: Path, model_id: str, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise DataError(
            "The name of an operating point has at most 60 letters, digits, spaces, dots or hyphens, and starts with a "
            f"letter or digit, not {name!r}."
        )
    return folder / (model_id or NO_MODEL) / f"{name}.json"
