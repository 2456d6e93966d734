"""What a check of a map is given, and what it answers.

A check asks one question of one map ("does the score fall faster when the pixels it marks are hidden than when others
are?") and answers with a level, the number behind it, what was expected and why, and a sentence for a reader who is no
engineer. It never alters the map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from explainers.passes import Passes
from explainers.reduce import reduce_channels
from explainers.targets import score
from explainers.types import Attribution
from models.card import ModelCard
from models.preprocess import Prepared
from models.registry import Registry
from models.types import FloatArray, Target

Level = Literal["ok", "weak", "fails", "not assessable"]
T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """From a number to a level.

    Attributes:
        ok, fails: the number is ok from ``ok`` on and fails from ``fails`` on, weak between; ``ok`` above ``fails``
            where more is better, below where less is.
        source: where the two come from (a paper, or how they were measured), in words.
    """

    ok: float
    fails: float
    source: str

    def level(self, value: float, low: float | None = None, high: float | None = None) -> Level:
        """The level of a number; of a number with an interval that reaches over a bound, the middle one of the two sides.

        Ok needs the whole interval on the side of ok, fails the whole interval on the side of fails.
        """
        sign = 1.0 if self.ok >= self.fails else -1.0
        ends = [sign * end for end in (value if low is None else low, value if high is None else high)]
        if min(ends) >= sign * self.ok:
            return "ok"
        return "fails" if max(ends) <= sign * self.fails else "weak"


@dataclass(frozen=True)
class CheckSpec:
    """What a check says of itself.

    Attributes:
        question: asked of the map, in a reader's words.
        measure: name of the number; ``unit`` is written behind it ("", "%").
        paper: authors, year and identifier.
        order: place in the strip; cheap checks first.
        brief: the number in a line of numbers, with {} in its place ("stable {}").
        passes: it passes the network; its verdict then rests on map, picture and network alone, and is worth keeping.
    """

    id: str
    title: str
    question: str
    measure: str
    unit: str
    paper: str
    order: int = 100
    brief: str = ""
    passes: bool = False


@dataclass(frozen=True, eq=False)
class Verdict:
    """A check's answer for one map.

    Attributes:
        check: its id.
        value, low, high: the number and its 95 % interval, None where there is none.
        n: what the interval is over (repeats, images); 0 without an interval.
        expected: in words, with its source.
        sentence: for the reader, with what it means for trusting the map.
        final: False while finer settings are still being computed.
        curves: (n,) arrays behind the number by name, for a figure ("deletion", "deletion, random order").
        maps: (H, W) arrays on the input grid by name (a consensus, a disagreement).
        facts: further numbers worth showing, readable.
        broken: the check could not be run for a reason that may pass; not to be kept.
    """

    check: str
    level: Level
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    expected: str = ""
    final: bool = True
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    maps: Mapping[str, FloatArray] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False

    def __post_init__(self) -> None:
        for name in ("curves", "maps", "facts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


class Subject:
    """An image and a class, and what every map of them is checked against; shared by the maps, so made once.

    Args:
        prepared: the network's input.
        targets: the class explained.
        passes: of the network that was explained.
        places: (H, W) masks on the input grid of what the image is known to show ("reference: nodule"); empty where
            nothing is known.
        anatomy: (H, W) masks on the input grid by name ("left lung", "outside the body").
        seen: (H, W) mask of the pixels that hold image rather than padding.
        card: of the network, for checks whose answer is stored with the model; None where it has none.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        prepared: Prepared,
        target: Target,
        passes: Passes,
        *,
        places: Mapping[str, NDArray[np.bool_]] | None = None,
        anatomy: Mapping[str, NDArray[np.bool_]] | None = None,
        seen: NDArray[np.bool_] | None = None,
        card: ModelCard | None = None,
        seed: int = 0,
    ) -> None:
        self.prepared, self.target, self.passes, self.seed = prepared, target, passes, seed
        self.card = card
        self.places, self.anatomy = dict(places or {}), dict(anatomy or {})
        self.seen = np.ones(prepared.grid_shape, dtype=bool) if seen is None else seen
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` gives, made at the first call with that key."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def scores(self, inputs: Tensor) -> NDArray[np.float64]:
        """(n,) target scores of (n, C, H, W) inputs, in batches that suit the device."""
        parts = [self.passes.logits(part) for part in inputs.split(self.passes.windows)]
        return np.concatenate([score(logits, self.target).double().cpu().numpy() for logits in parts])

    @property
    def whole(self) -> float:
        """The target's score of the image as it is."""
        return self.once("whole", lambda: float(self.scores(self.prepared.tensor)[0]))


@dataclass(frozen=True, eq=False)
class Evidence:
    """One map and what it can be checked with.

    Attributes:
        again: explains another input (1, C, H, W) of the same network for the same target by the same method,
            parameters and seed.
        others: maps of the same subject by other methods.
    """

    subject: Subject
    attribution: Attribution
    again: Callable[[Tensor], Attribution]
    others: Sequence[Attribution] = ()

    @property
    def map(self) -> FloatArray:
        """(H, W) float32, channels summed, signed as the method says; what the viewer shows."""
        return self.subject.once(("map", self.attribution), lambda: reduce_channels(self.attribution.values))


class Check(Protocol):
    """A check. Stateless; one file each, registered in ``CHECKS``."""

    spec: CheckSpec

    def cost(self, evidence: Evidence) -> int:
        """Inputs that the network will pass, gradients counted threefold; what is shared counts for the first map."""
        ...

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        """Verdicts, coarse first, each replacing the one before; the last is final. "Not assessable" with the reason
        where the question has no answer for this map."""
        ...


CHECKS: Registry[Check] = Registry("check")
