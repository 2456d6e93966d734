"""Agreement between methods: rank correlation and overlap of the strongest tenth (Krishna et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.quality import _ranks
from explainers.quality.randomisation import doubts
from explainers.quality.types import CHECKS, CheckSpec, Evidence, Rule, Subject, Verdict
from explainers.reduce import reduce_channels
from explainers.types import Attribution
from models.types import FloatArray

TOP = 0.1  # share of the cells whose overlap is reported
Array = NDArray[np.float64]


class Agreement:
    """Mean rank correlation of this map with the others of the same picture and class, but for methods that fail with
    random weights on this model.

    The interval draws tiles of the picture again. Methods may agree and all be wrong; where they disagree, at most one
    of them can be right about the place.
    """

    spec = CheckSpec(
        id="agreement",
        title="Agreement",
        question="Do other methods mark the same places?",
        measure="mean rank correlation with the other maps",
        unit="",
        paper="Krishna et al. 2022, arXiv:2202.01602",
        order=15,
        brief="agrees {}",
    )
    rule = Rule(
        ok=0.5,
        fails=0.25,
        source="at 0.5 a quarter of the variance of the ranks is shared; maps of two different images "
        "(benchmarks/trust.py, chest-xray-14, 30 images) reached 0.02 to 0.30 in the highest twentieth by method",
    )

    def cost(self, evidence: Evidence) -> int:
        """See ``explainers.quality.types.Check``."""
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        """See ``explainers.quality.types.Check``."""
        subject = evidence.subject
        blocks = _ranks.cells(subject)
        own = _ranks.ranks(evidence.map, blocks)
        if own is None:
            yield Verdict(self.spec.id, "not assessable", "The map is the same everywhere, so it cannot be compared.")
            return
        doubted = subject.once("doubted", lambda: doubts(subject.card) if subject.card is not None else {})
        others = [
            (other, _ranked(subject, other))
            for other in evidence.others
            if other is not evidence.attribution and other.method not in doubted
        ]
        known = [(other.title, ranks) for other, ranks in others if ranks is not None]
        if not known:
            yield Verdict(
                self.spec.id, "not assessable", "There is no other map to compare that may count as evidence."
            )
            return
        value = float(np.mean([_ranks.correlation(own, ranks) for _, ranks in known]))
        low, high, tiles = _ranks.over_picture([(own, ranks) for _, ranks in known], blocks, subject.seed)
        level = self.rule.level(value, low, high)
        sentence = {
            "ok": "Other methods mark the same places.",
            "weak": "Other methods mark partly other places: hold on to what they have in common.",
        }.get(level, "Other methods mark other places: do not rest a decision on where this map points.")
        facts = {
            _numbered(title, number, known): (
                f"rank correlation {_ranks.correlation(own, ranks):.2f}, "
                f"strongest tenth overlaps by {100 * overlap(own, ranks):.0f} %"
            )
            for number, (title, ranks) in enumerate(known)
        }
        yield Verdict(
            self.spec.id,
            level,
            sentence,
            value,
            low,
            high,
            n=tiles,
            expected=f"at least {self.rule.ok:.2f}; {self.rule.source}",
            maps=self._together(evidence),
            facts=facts | {"interval": f"over {tiles} tiles of the picture"},
        )

    def _together(self, evidence: Evidence) -> dict[str, FloatArray]:
        """Mean and standard deviation of the maps' ranks, each in [0, 1]; 0.5 and 0 where there is no image."""
        subject = evidence.subject
        made = {id(one): one for one in (evidence.attribution, *evidence.others)}.values()
        stack = [ranks for ranks in (_pixel_ranks(subject, one) for one in made) if ranks is not None]
        return {
            "consensus": np.mean(stack, axis=0, dtype=np.float64).astype(np.float32),
            "disagreement": np.std(stack, axis=0, dtype=np.float64).astype(np.float32),
        }


def _numbered(title: str, number: int, known: Sequence[tuple[str, Array]]) -> str:
    """The title; with its place where the same method is there twice."""
    return title if [name for name, _ in known].count(title) == 1 else f"{title} ({number + 1})"


def overlap(first: Array, second: Array) -> float:
    """Intersection over union of the highest tenth of two rows of ranks."""
    one, two = (ranks > np.quantile(ranks, 1 - TOP) for ranks in (first, second))
    union = int((one | two).sum())
    return int((one & two).sum()) / union if union else 0.0


def _map(subject: Subject, made: Attribution) -> FloatArray:
    return subject.once(("map", made), lambda: reduce_channels(made.values))


def _ranked(subject: Subject, made: Attribution) -> Array | None:
    return subject.once(("ranks", made), lambda: _ranks.ranks(_map(subject, made), _ranks.cells(subject)))


def _pixel_ranks(subject: Subject, made: Attribution) -> FloatArray | None:
    """(H, W) ranks of a map's pixels in (0, 1); None for a map that is the same everywhere."""

    def found() -> FloatArray | None:
        if _ranked(subject, made) is None:
            return None
        inside = _map(subject, made)[subject.seen]
        values = np.full(subject.seen.shape, 0.5, dtype=np.float32)
        values[subject.seen] = _ranks.in_unit(inside)
        return values

    return subject.once(("pixel ranks", made), found)


CHECKS.register(Agreement.spec.id, Agreement())
