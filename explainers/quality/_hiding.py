"""What checks by hiding parts of the picture share: repeats, controls, and the margin over the best of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.methods._baselines import baseline
from explainers.quality import _controls, _intervals
from explainers.quality._order import Blocks, Order, varies
from explainers.quality.types import CheckSpec, Evidence, Rule, Subject, Verdict

Array = NDArray[np.float64]
FILLS = ("blurred", "mean")
RANDOM_ORDERS = 1  # in each repeat
SMOOTH, BLURRED = "random map, as smooth", "the map itself, blurred"
ENOUGH = 0.2  # logit (or what the target counts in) that hiding the whole picture has to take away; five points of probability
_STILL = 1e-4  # scores that move by less, relative to the largest score or to 1, do not move


@dataclass
class _Gathered:
    """Of every repeat so far: curves (2, points) by name, and the range of the controls' scores."""

    curves: dict[str, list[Array]] = field(default_factory=dict)
    scales: list[float] = field(default_factory=list)

    def add(self, curves: Mapping[str, Array], scale: float) -> None:
        self.scales.append(scale)
        for name, values in curves.items():
            self.curves.setdefault(name, []).append(values)


class HidingCheck(ABC):
    """Hides parts in the order of a map, and in the opposite order, and compares both with controls.

    Subclasses say how a part is hidden, and give ``spec``, ``rule``, the shares (p,) at which scores are taken, and the
    names of the two curves: that which should fall at once, and that which should stay high. The number is the area
    between them, in units of the drop: the range of the controls' scores.
    """

    spec: CheckSpec
    rule: Rule
    shares: Array
    names: tuple[str, str]
    coarse: int
    repeats: int
    shown: tuple[str, ...] = ()  # maps made of the map that are shown beside it and are no controls

    @abstractmethod
    def blocks(self, subject: Subject, repeat: int) -> Blocks:
        """The grid of a repeat."""

    @abstractmethod
    def curves(self, subject: Subject, repeat: int, orders: Sequence[Order]) -> list[Array]:
        """For each order the (2, p) scores: first and second curve at ``shares``."""

    @abstractmethod
    def area(self, curves: Array) -> float:
        """Between the second and the first curve, (2, p), in score."""

    @abstractmethod
    def passed(self) -> int:
        """Inputs passed for one order in one repeat."""

    @abstractmethod
    def sentence(self, level: str, control: str) -> str:
        """For the reader; ``control`` names the best one in words."""

    def cost(self, evidence: Evidence) -> int:
        """See ``explainers.quality.types.Check``."""
        own = 2
        first = evidence.subject.once((self.spec.id, "first"), lambda: evidence.attribution)
        shared = 2 + RANDOM_ORDERS if first is evidence.attribution else 0
        return self.passed() * (self.repeats * (own + shared) + len(self.shown) * self.coarse)

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        """See ``explainers.quality.types.Check``."""
        subject = evidence.subject
        if not varies(evidence.map, subject.seen):
            yield Verdict(self.spec.id, "not assessable", "The map is the same everywhere: it marks nothing to test.")
            return
        found = _Gathered()
        for repeat in range(self.repeats):
            curves = dict(subject.once((self.spec.id, repeat), partial(self._shared, subject, repeat)))
            scale = _range([*curves.values(), np.array([[subject.whole]])])
            curves |= self._own(evidence, repeat)
            if _range([*curves.values(), np.array([[subject.whole]])]) <= _STILL * max(1.0, abs(subject.whole)):
                yield self._still()
                return
            found.add(curves, max(scale, _STILL))
            if repeat == 0 and (fall := _fall(subject)) < ENOUGH:
                yield self._no_fall(fall, self._verdict(found, subject, final=True))
                return
            if repeat + 1 == self.coarse and self.coarse < self.repeats:
                yield self._verdict(found, subject, final=False)
        yield self._verdict(found, subject, final=True)

    def _shared(self, subject: Subject, repeat: int) -> dict[str, Array]:
        """Curves of the controls that are the same for every map."""
        blocks, seed = self.blocks(subject, repeat), self._seed(subject, repeat)
        orders = [blocks.order(make(subject), seed) for make in (_controls.edges, _controls.centre)]
        orders += [blocks.random(seed + 1 + number) for number in range(RANDOM_ORDERS)]
        made = self.curves(subject, repeat, orders)
        return {"edges": made[0], "centre": made[1], "random order": np.mean(made[2:], axis=0)}

    def _own(self, evidence: Evidence, repeat: int) -> dict[str, Array]:
        subject, seed = evidence.subject, self._seed(evidence.subject, repeat)
        maps = {"": evidence.map, SMOOTH: _controls.as_smooth(evidence.map, seed)}
        if BLURRED in self.shown and repeat < self.coarse:
            maps[BLURRED] = _controls.blurred(evidence.map)
        blocks = self.blocks(subject, repeat)
        made = self.curves(subject, repeat, [blocks.order(values, seed) for values in maps.values()])
        return dict(zip(maps, made, strict=True))

    @staticmethod
    def _seed(subject: Subject, repeat: int) -> int:
        return subject.seed * 1000 + 10 * repeat

    def _verdict(self, found: _Gathered, subject: Subject, final: bool) -> Verdict:
        areas = {
            name: np.array([self.area(one) for one in curves]) / found.scales[: len(curves)]
            for name, curves in found.curves.items()
        }
        means = {name: float(values.mean()) for name, values in areas.items()}
        best = max(_controls.WORDS, key=lambda name: means[name])
        value, low, high = _intervals.of_mean(areas[""] - areas[best])
        # The map has to show that it is better: an interval that reaches up from below the limit does not help it.
        level = self.rule.level(value, low, value)
        if level == "ok" and np.mean([one[0].mean() for one in found.curves[""]]) >= subject.whole:
            level = "weak"  # better than the controls, and yet the score does not fall
        curves = {"share": self.shares}
        facts = {"score of the picture": f"{subject.whole:.3g}", "drop": f"{np.mean(found.scales):.3g}"}
        for name, parts in found.curves.items():
            both = np.mean(parts, axis=0)
            for own, values in zip(self.names, both, strict=True):
                curves[f"{own}, {name}" if name else own] = values
            below, above = (f"{np.mean(values):.3g}" for values in both)
            known = f"{means[name]:.2f} (mean score {self.names[0]} {below}, {self.names[1]} {above})"
            facts[name or "this map"] = known
        return Verdict(
            self.spec.id,
            level,
            self.sentence(level, _controls.WORDS[best]),
            value,
            low,
            high,
            n=len(found.scales) if low is not None else 0,
            expected=f"at least {self.rule.ok:.2f} over the best control; {self.rule.source}",
            final=final,
            curves=curves,
            facts=facts | {"best control": _controls.WORDS[best]},
        )

    def _no_fall(self, fall: float, found: Verdict) -> Verdict:
        """What was found, without a judgement: a score that does not fall with the picture rests on nothing to be hidden."""
        sentence = (
            f"Hiding the whole picture takes {max(fall, 0):.2g} from this score, too little to tell what it rests on."
            if fall > -ENOUGH
            else f"This score rises by {-fall:.2g} when the whole picture is hidden: the picture speaks against the class, so "
            "hiding parts of it cannot show what speaks for it."
        )
        expected = f"a score that falls by {ENOUGH} or more when the picture is hidden"
        return replace(
            found, level="not assessable", sentence=sentence, value=None, low=None, high=None, n=0, expected=expected
        )

    def _still(self) -> Verdict:
        return Verdict(
            self.spec.id,
            "fails",
            "The score stays the same whatever is hidden: this decision does not rest on the picture, so no map of it "
            "should be believed.",
            expected="a score that falls when the picture is hidden",
        )


def _range(curves: Sequence[Array]) -> float:
    return max(float(values.max()) for values in curves) - min(float(values.min()) for values in curves)


def _fall(subject: Subject) -> float:
    """What hiding the whole picture takes from the score, the mean of two fills."""

    def made() -> float:
        shown = torch.from_numpy(subject.seen).to(subject.prepared.tensor.device)
        filled = [torch.where(shown, baseline(subject.prepared, name), subject.prepared.tensor) for name in FILLS]
        return subject.whole - float(subject.scores(torch.cat(filled)).mean())

    return subject.once("fall", made)
