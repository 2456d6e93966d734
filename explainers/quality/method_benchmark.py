"""All methods of a network on images with a known place, as stored beside its card."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from explainers.quality.localisation import SetResult
from explainers.types import ParamValue
from models.card import ModelCard

FILE = "evaluation/methods.json"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodRow(_Table):
    """One method on one set.

    Attributes:
        params: of the method; the layer's name where it has one.
        seconds: median CPU time of a map, one thread.
        passes: inputs a map costs, gradients counted threefold.
        result: against the known places.
    """

    method: str
    title: str
    params: dict[str, ParamValue]
    seconds: float
    passes: int
    result: SetResult


class GroundTruthSet(_Table):
    """One set of images.

    Attributes:
        name: for people, with what the places are ("HAM10000, lesion masks").
        cases, called: images, and those on which the network calls the class explained.
        note: what a reader must know of the set.
        methods: by id.
    """

    name: str
    cases: int
    called: int
    note: str
    methods: dict[str, MethodRow]


class StoredMethods(_Table):
    """The file beside the card."""

    model: str
    weights_sha256: str
    seed: int
    sets: dict[str, GroundTruthSet]


def stored_methods(card: ModelCard) -> Mapping[str, GroundTruthSet]:
    """Sets by id; empty where nothing is stored, or where it was measured on other weights."""
    try:
        found = StoredMethods(**json.loads((card.folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, ValidationError, TypeError):
        return {}
    return found.sets if found.weights_sha256 == card.weights.sha256 else {}
