"""Explanations: (network, prepared image, target) to a raw attribution map."""

from __future__ import annotations

import importlib
import importlib.util

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
    """Load the libraries that models and methods load late; takes seconds, so call it in the background.

    In this order: two threads that enter one package by different doors can find it half made.
    """
    importlib.import_module("models.architectures")
    if importlib.util.find_spec("pytorch_grad_cam") is not None:
        importlib.import_module("pytorch_grad_cam")


__all__ = ["EXPLAINERS", "get", "warm_up"]
