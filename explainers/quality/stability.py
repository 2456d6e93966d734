"""Stability: does the map stay when the picture changes as little as the score does?

In the manner of Alvarez-Melis and Jaakkola 2018 (arXiv:1806.08049), with changes that a picture meets on its way.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor

from explainers.quality import _intervals, _ranks
from explainers.quality._order import varies
from explainers.quality.types import CHECKS, CheckSpec, Evidence, Rule, Subject, Verdict
from explainers.reduce import reduce_channels
from explainers.registry import EXPLAINERS
from explainers.targets import score

MOST = 0.05  # change of the probability beyond which the network sees another case
QUICK = 32  # inputs passed for one map, gradients counted threefold, up to which each kind of change is made twice
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A small change of the picture.

    Attributes:
        name: for the reader.
        make: (C, H, W) in [0, 1], and a generator, to the same.
        moved: by how many pixels (down, right) the picture was shifted.
    """

    name: str
    make: Callable[[Array, np.random.Generator], Array]
    moved: tuple[int, int] = (0, 0)


def _noise(values: Array, draw: np.random.Generator) -> Array:
    return values + 0.02 * draw.standard_normal(values.shape)


def _shift(values: Array, down: int, right: int) -> Array:
    """Moved by whole pixels; what comes in repeats the edge."""
    rows, columns = (
        np.clip(np.arange(length) - step, 0, length - 1)
        for length, step in zip(values.shape[-2:], (down, right), strict=True)
    )
    return values[..., rows[:, None], columns[None]]


def _jpeg(values: Array, quality: int) -> Array:
    """Through a file in memory; grey where the channels are the same."""
    stored = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    grey = len(stored) != 3 or bool((stored == stored[:1]).all())
    written = io.BytesIO()
    Picture.fromarray(stored[0] if grey else np.ascontiguousarray(stored.transpose(1, 2, 0))).save(
        written, "JPEG", quality=quality
    )
    read = np.asarray(Picture.open(written), dtype=np.float64) / 255
    changed = read[None] if grey else read.transpose(2, 0, 1)
    return values + (changed - stored / 255)  # what the file changed, without the rounding to 256 levels


CHANGES = (
    Change("noise of 2 %", _noise),
    Change("shift by 1 px to the right", lambda values, _: _shift(values, 0, 1), (0, 1)),
    Change("brightness + 3 %", lambda values, _: values * 1.03),
    Change("JPEG, quality 90", lambda values, _: _jpeg(values, 90)),
    Change("other noise of 2 %", _noise),
    Change("shift by 1 px down", lambda values, _: _shift(values, 1, 0), (1, 0)),
    Change("brightness - 3 %", lambda values, _: values * 0.97),
    Change("JPEG, quality 75", lambda values, _: _jpeg(values, 75)),
)
KINDS = 4


class Stability:
    """Mean rank correlation of the map with those of slightly changed pictures, of which the score stays.

    The four kinds of change are made twice each, or once where a map is slow. A change that moves the probability by
    more than 5 points is left out and counted. The interval is over the changes.
    """

    spec = CheckSpec(
        id="stability",
        title="Stability",
        question="Does the map stay the same when the picture changes a little and the score does not?",
        measure="mean rank correlation",
        unit="",
        paper="Alvarez-Melis and Jaakkola 2018, arXiv:1806.08049",
        order=25,
        brief="stable {}",
        passes=True,
    )
    rule = Rule(
        ok=0.7,
        fails=0.5,
        source="at 0.7 half of the variance of the ranks is shared, at 0.5 a quarter; maps of two different images "
        "(benchmarks/trust.py, chest-xray-14, 30 images) reached 0.08 and 0.56 in the highest twentieth, coarse class "
        "activation maps 0.88: for these the check is lenient",
    )

    def cost(self, evidence: Evidence) -> int:
        """See ``explainers.quality.types.Check``."""
        count = len(_chosen(evidence))
        first = evidence.subject.once((self.spec.id, "first"), lambda: evidence.attribution)
        return count * _inputs(evidence) + (len(CHANGES) if first is evidence.attribution else 0)

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        """See ``explainers.quality.types.Check``."""
        subject = evidence.subject
        blocks = _ranks.cells(subject)
        own = _ranks.ranks(evidence.map, blocks)
        if own is None or not varies(evidence.map, subject.seen):
            yield self._none("The map is the same everywhere, so it cannot be compared.")
            return
        moved = subject.once("changed scores", lambda: _probability_changes(subject))
        chosen = _chosen(evidence)
        found: dict[str, float] = {}
        left_out: dict[str, float] = {}
        for number in chosen:
            change = CHANGES[number]
            if moved[number] > MOST:
                left_out[change.name] = moved[number]
                continue
            again = reduce_channels(evidence.again(_changed(subject, number)).values)
            back = _shift(again.astype(np.float64), -change.moved[0], -change.moved[1]).astype(np.float32)
            other = _ranks.ranks(back, blocks)
            found[change.name] = 0.0 if other is None else _ranks.correlation(own, other)
            if len(found) == 1:
                yield self._verdict(found, left_out, final=False)
        if len(found) < 2:
            yield self._none(
                f"Changes that can hardly be seen move the probability by more than {100 * MOST:.0f} points: the "
                "decision itself is not stable, so the map cannot be judged by it.",
                left_out,
            )
            return
        yield self._verdict(found, left_out, final=True)

    def _verdict(self, found: dict[str, float], left_out: dict[str, float], final: bool) -> Verdict:
        value, low, high = _intervals.of_mean(list(found.values()))
        level = self.rule.level(value, low, None if high is None else min(1.0, high))
        sentence = {
            "ok": "The map stays when the picture changes so little that the score stays.",
            "weak": "The map moves somewhat when the picture changes so little that the score stays: trust its main "
            "features, not its detail.",
        }.get(
            level,
            "The map changes though the picture and the score hardly do: another exposure of the same patient could "
            "show another map.",
        )
        return Verdict(
            self.spec.id,
            level,
            sentence,
            value,
            low,
            None if high is None else min(1.0, high),
            n=len(found) if low is not None else 0,
            expected=f"at least {self.rule.ok:.2f}; {self.rule.source}",
            final=final,
            facts={name: f"{one:.2f}" for name, one in found.items()} | _counted(left_out),
        )

    def _none(self, why: str, left_out: dict[str, float] | None = None) -> Verdict:
        return Verdict(self.spec.id, "not assessable", why, facts=_counted(left_out or {}))


def _counted(left_out: dict[str, float]) -> dict[str, str]:
    return {
        f"left out: {name}": f"moves the probability by {100 * moved:.0f} points" for name, moved in left_out.items()
    }


def _inputs(evidence: Evidence) -> int:
    """Passed for one map of the evidence's method."""
    made = evidence.attribution
    spec = EXPLAINERS.get(made.method).spec if made.method in EXPLAINERS else None
    if spec is None:
        return QUICK + 1
    return spec.cost(made.params, evidence.subject.prepared.grid_shape) * (3 if spec.family == "gradient" else 1)


def _chosen(evidence: Evidence) -> range:
    return range(len(CHANGES) if _inputs(evidence) <= QUICK else KINDS)


def _changed(subject: Subject, number: int) -> Tensor:
    """The input (1, C, H, W) after a change, made on the scale from black to the picture's brightest value."""

    def made() -> Tensor:
        tensor = subject.prepared.tensor
        values = tensor[0].double().cpu().numpy()
        low = np.minimum(subject.prepared.black.double().cpu().numpy(), values.min(axis=(1, 2)))[:, None, None]
        extent = np.maximum(values.max(axis=(1, 2))[:, None, None] - low, 1e-6)
        draw = np.random.default_rng((subject.seed, number))
        scaled = (values - low) / extent
        slices = subject.card.input.slices if subject.card is not None else 1
        parts = [scaled] if slices == 1 else list(scaled[:, None])  # slices are pictures of their own
        shown = np.clip(np.concatenate([CHANGES[number].make(part, draw) for part in parts]), 0, 1)
        # What lies outside the picture stays as it is.
        kept = np.where(subject.seen, shown * extent + low, values)
        return torch.from_numpy(kept.astype(np.float32))[None].to(tensor)

    return subject.once(("changed", number), made)


def _probability_changes(subject: Subject) -> list[float]:
    """By how much each change moves the probability of the target (of a contrast: of one class against the other)."""
    wanted = subject.target
    inputs = torch.cat([subject.prepared.tensor, *(_changed(subject, number) for number in range(len(CHANGES)))])
    logits = torch.cat([subject.passes.logits(part) for part in inputs.split(subject.passes.windows)])
    contrast = wanted.output == "contrast"
    values = score(logits, wanted).sigmoid() if contrast else score(logits, replace(wanted, output="probability"))
    found = values.double().cpu().numpy()
    return [float(one) for one in np.abs(found[1:] - found[0])]


CHECKS.register(Stability.spec.id, Stability())
