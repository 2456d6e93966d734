"""Explanations: (network, prepared image, target) to a raw attribution map."""

from __future__ import annotations

import importlib

from explainers import methods
from explainers.registry import EXPLAINERS
from explainers.types import Explainer
from models.errors import ExplainError
from models.registry import discover

discover(methods)


def get(explainer_id: str) -> Explainer:
    """The method of that id. Raises ExplainError listing the known ids."""
    return EXPLAINERS.get(explainer_id, ExplainError)


def warm_up() -> None:
    """Load what models load late; takes seconds, so call it in the background."""
    importlib.import_module("models.architectures")


__all__ = ["EXPLAINERS", "get", "warm_up"]
