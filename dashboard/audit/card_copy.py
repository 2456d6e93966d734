"""A model card with another calibration: a copy of its text, to take along and put in the place of the old one."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from dashboard.audit.logistic import log_odds, sigmoid
from dashboard.audit.recalibrate import Line, Recalibration
from models.card import CARD_FILE, CalibrationTable, ModelCard
from models.errors import DataError


def recalibrated_card(card: ModelCard, found: Recalibration, classes: tuple[str, ...]) -> str:
    """The text of ``card.toml`` in the card's folder with the calibration and the operating points that belong to it.

    The new line acts on what the card's present line gives: scale2 * (scale1 * z + offset1) + offset2. Operating
    points move along, so that the same cases are called as before.

    Args:
        found: fitted on scores that this card gave.
        classes: of the table it was fitted on, in its order.

    Raises:
        DataError: the calibration is not a line, or the model is not one whose probabilities are those of the table.
    """
    curve = found.curve
    if not isinstance(curve, Line):
        raise DataError("A model card holds a line on the logit; choose temperature, Platt or a prevalence shift.")
    if card.task == "segmentation" or classes != card.classes:
        raise DataError(f"The scores of this table are not the calibrated outputs of {card.id}, so its card stays.")
    path = card.folder / CARD_FILE
    try:
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"The card of {card.id} cannot be read from {path.name} ({type(error).__name__}).") from None
    fields["calibration"] = composed(card, found).model_dump()
    chosen = dict(zip(card.classes, _moved(card, curve).tolist(), strict=True))
    source = f"{card.thresholds.source}; moved along with the calibration fitted on {found.part}"
    fields["thresholds"] = {"default": card.thresholds.default, "source": source, "values": chosen}
    return tomli_w.dumps(fields)


def composed(card: ModelCard, found: Recalibration) -> CalibrationTable:
    """The card's line followed by the new one. Raises DataError where the new one is not a line."""
    curve = found.curve
    if not isinstance(curve, Line):
        raise DataError("A model card holds a line on the logit; choose temperature, Platt or a prevalence shift.")
    old = card.calibration
    scale = _rounded(curve.scale * np.asarray(old.scale))
    offset = _rounded(curve.scale * np.asarray(old.offset) + curve.offset)
    before = f"; before it: {old.method}, {old.source}" if old.method != "none" else ""
    source = f"{found.method} fitted on {found.part}{before}"
    if np.ptp(scale) == 0 and np.ptp(offset) == 0:
        return CalibrationTable(
            method="platt" if offset[0] else "temperature",
            scale=float(scale[0]),
            offset=float(offset[0]),
            source=source,
        )
    return CalibrationTable(
        method="vector" if card.exclusive else "platt-per-class",
        scale=tuple(scale.tolist()),
        offset=tuple(offset.tolist()),
        source=source,
    )


def _moved(card: ModelCard, curve: Line) -> NDArray[np.float64]:
    """(K,) operating points at which the same cases are called."""
    points = card.threshold_array.astype(np.float64)
    if not card.exclusive:
        inside = (points > 0) & (points < 1)
        return _rounded(np.where(inside, sigmoid(log_odds(points) * curve.scale + curve.offset), points))
    # The largest score / threshold is decided, so thresholds move as scores do; only their ratios count.
    logs = np.log(np.maximum(points, 1e-6)) * curve.scale + curve.offset
    powers = np.exp(logs - logs.max())
    return _rounded(powers / powers.sum())


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([float(f"{value:.9g}") for value in values])
