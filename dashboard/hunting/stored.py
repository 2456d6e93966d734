"""Results of hunts beside a model's card."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dashboard.audit.intervals import Estimate
from models.card import ModelCard


class Table(BaseModel):
    """A part of a stored result."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(Table):
    """A stored result; it counts for the weights that it was measured on, and for no others."""

    model: str
    weights_sha256: str


R = TypeVar("R", bound=Result)


def read_result(card: ModelCard, file: str, kind: type[R]) -> R | None:
    """The result stored beside a card; None where there is none, or it is damaged or of other weights."""
    try:
        found = kind.model_validate_json((card.folder / file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return found if (found.model, found.weights_sha256) == (card.id, card.weights.sha256) else None


def write_result(card: ModelCard, file: str, result: Result) -> None:
    """Store it, what is not known left out."""
    path = card.folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{json.dumps(plain(result))}\n", encoding="utf-8")


def plain(result: BaseModel) -> dict[str, object]:
    """As plain data for JSON."""
    found: dict[str, object] = result.model_dump(mode="json", exclude_defaults=True)
    return found


def rounded(one: Estimate) -> Estimate:
    """With four digits, as stored."""
    value, low, high = (None if end is None else round(end, 4) for end in (one.value, one.low, one.high))
    return Estimate(value, low, high, one.n, one.note)
