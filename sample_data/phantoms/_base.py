"""What every phantom generator has in common: checked parameters, a seed, and honest provenance."""

from __future__ import annotations

import hashlib
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from models.errors import DataError
from models.registry import Registry
from models.types import Case, Image, Provenance, Region

LICENCE = "Apache-2.0 (drawn by this project's code; no patient)"

ParamValue = int | float | str | bool


def number(default: float, low: float, high: float, unit: str, help: str) -> Any:
    """A numeric dataclass field with inclusive bounds; a whole-number default makes it take whole numbers only."""
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "help": help})


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A dataclass field that takes one of ``choices``."""
    return field(default=default, metadata={"choices": choices, "help": help})


def flag(default: bool, help: str) -> Any:
    """A yes-or-no dataclass field."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a generator hands back; :func:`make` turns it into a case.

    Attributes:
        finding: what was planted, in words, for the title ("nodule, 12 mm").
        regions: the finding first, then anatomy.
    """

    image: Image
    finding: str
    regions: tuple[Region, ...]
    labels: Mapping[str, bool]
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Phantom(ABC):
    """Base of the generators: a frozen dataclass whose fields are its parameters."""

    kind: ClassVar[str]
    system: ClassVar[str]

    def __post_init__(self) -> None:
        for spec in fields(self):
            _check(self.kind, spec.name, getattr(self, spec.name), spec.default, spec.metadata)

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Drawing:
        """Draw the image. Everything random comes from ``rng``."""


_GENERATORS: Registry[type[Phantom]] = Registry("phantom")
P = TypeVar("P", bound=type[Phantom])


def register(name: str) -> typing.Callable[[P], P]:
    """Class decorator: make a generator known under ``name``."""

    def add(generator: P) -> P:
        _GENERATORS.register(name, generator)
        return generator

    return add


def generators() -> Mapping[str, type[Phantom]]:
    """All generators by name."""
    return {name: _GENERATORS.get(name) for name in _GENERATORS.ids()}


def make(name: str, seed: int = 0, **params: ParamValue) -> Case:
    """Draw a phantom.

    Args:
        name: of a generator, e.g. "chest-film".
        seed: 0 or greater; the same seed and parameters give the same bytes on one platform.
        params: fields of the generator; see its class for units and ranges.

    Returns:
        A case whose regions hold the mask of the planted finding and whose attributes hold the measured truth.

    Raises:
        DataError: for an unknown name or parameter, or a value out of range.
    """
    generator = _GENERATORS.get(name, DataError)
    known = [spec.name for spec in fields(generator)]
    for given in params:
        if given not in known:
            raise DataError(f"The phantom {name!r} has no parameter {given!r}; it has {', '.join(known)}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"The seed of a phantom must be a whole number of 0 or more, got {seed!r}.")
    phantom = generator(**params)
    drawing = phantom.draw(np.random.default_rng(seed))
    changed = {spec.name: getattr(phantom, spec.name) for spec in fields(phantom)}
    recipe = ", ".join(f"{key} = {value}" for key, value in changed.items())
    digest = hashlib.sha256(repr((name, seed, drawing.image.values.shape)).encode() + drawing.image.values.tobytes())
    return Case(
        id=f"phantom-{name}-{digest.hexdigest()[:12]}",
        title=f"Phantom: {drawing.finding}",
        image=drawing.image,
        provenance=Provenance(
            source=f"drawn by the generator {name!r}, seed {seed}",
            sha256=digest.hexdigest(),
            reader="phantom",
            licence=LICENCE,
            notes=("A drawing, not a patient.", f"Parameters: {recipe}."),
        ),
        labels=drawing.labels,
        regions=drawing.regions,
        attributes=drawing.attributes,
    )


def _check(kind: str, name: str, value: Any, default: Any, metadata: Mapping[str, Any]) -> None:
    if "choices" in metadata:
        if value not in metadata["choices"]:
            raise DataError(f"Phantom {kind}: {name} must be one of {', '.join(metadata['choices'])}, got {value!r}.")
        return
    if isinstance(default, bool) or isinstance(value, bool):
        if not (isinstance(default, bool) and isinstance(value, bool)):
            expected = "true or false" if isinstance(default, bool) else "a number"
            raise DataError(f"Phantom {kind}: {name} must be {expected}, got {value!r}.")
        return
    whole = isinstance(default, int)
    if not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise DataError(f"Phantom {kind}: {name} must be a {'whole ' if whole else ''}number, got {value!r}.")
    low, high, unit = metadata["low"], metadata["high"], metadata["unit"]
    if not low <= value <= high:
        raise DataError(
            f"Phantom {kind}: {name} must lie between {low:g} and {high:g} {unit}, got {value:g}.".replace(" ,", ",")
        )
