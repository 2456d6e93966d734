"""What was measured on a released model (``evaluation/metrics.json`` in its folder)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from models.card import Measure
from models.errors import ModelError

METRICS_FILE = Path("evaluation") / "metrics.json"


class Confusion(BaseModel):
    """Counts of cases.

    Attributes:
        matrix: K rows of K counts; the row is the true class, the column the one decided for.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _square(self) -> Self:
        if any(len(row) != len(self.classes) for row in (self.matrix, *self.matrix)):
            raise ValueError(f"matrix needs {len(self.classes)} rows and columns, one for each class")
        return self


class CalibrationQuality(BaseModel):
    """How well probabilities say what happens; smaller is better.

    Attributes:
        method: the calibration they were made by, where several are compared.
        nll: negative log likelihood.
        ece: expected calibration error.
        brier: mean squared error of the probabilities.
    """

    model_config = ConfigDict(frozen=True)

    method: str = ""
    nll: float
    ece: float
    brier: float | None = None


class CalibrationReport(BaseModel):
    """Methods compared on the validation part, and the test part ("before", "after") under the one chosen.

    Attributes:
        unit: what one probability belongs to ("image and class", "pixel").
    """

    model_config = ConfigDict(frozen=True)

    method: str = ""
    unit: str = ""
    validation: tuple[CalibrationQuality, ...] = ()
    test: dict[str, CalibrationQuality] = {}


class Evaluation(BaseModel):
    """The figures behind a card.

    Attributes:
        counts: positives by split and class.
        cases, groups: images, and what was kept on one side (``group_unit``: patients, lesions ...), by split.
        metadata: with and without age, sex or site beside the scores, where that was tried.
    """

    model_config = ConfigDict(frozen=True)

    measures: tuple[Measure, ...]
    confusion: Confusion | None = None
    counts: dict[str, dict[str, int]] = {}
    cases: dict[str, int] = {}
    groups: dict[str, int] = {}
    group_unit: str = "patients"
    metadata: tuple[Measure, ...] = ()
    calibration: CalibrationReport = CalibrationReport()


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation in a model folder, None where there is none. Raises ModelError for a file that is wrong."""
    path = folder / METRICS_FILE
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        reason = f"field {field}: {first['msg'].removeprefix('Value error, ')}"
    raise ModelError(f"{folder.name}/{METRICS_FILE.as_posix()} cannot be read ({reason}); evaluate the model again.")


@dataclass(frozen=True)
class Epoch:
    """One line of a training history.

    Attributes:
        loss: on the training part.
        validation: the recipe's metric on the validation part.
        seconds: it took.
    """

    epoch: int
    loss: float
    validation: float
    seconds: float


def read_history(path: Path) -> tuple[Epoch, ...]:
    """The epochs in a CSV with the columns epoch, loss, validation, seconds. Raises ModelError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(
                Epoch(int(row["epoch"]), float(row["loss"]), float(row["validation"]), float(row["seconds"]))
                for row in csv.DictReader(file)
            )
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except KeyError as error:
        reason = f"it has no column {error}"
    except (ValueError, TypeError, csv.Error):
        reason = "a line holds something other than numbers"
    raise ModelError(
        f"The training history {path.name} cannot be read ({reason}); write it again or drop it from the card."
    )
