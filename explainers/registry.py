"""The registry of methods; a module of its own so that methods can import it without importing the package's list."""

from __future__ import annotations

from explainers.types import Explainer
from models.registry import Registry

EXPLAINERS: Registry[Explainer] = Registry("explainer")
