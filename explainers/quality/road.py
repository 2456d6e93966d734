"""ROAD, remove and debias: the same question with parts replaced by what surrounds them (Rong et al., ICML 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from explainers.quality._hiding import BLURRED, Array, HidingCheck
from explainers.quality._imputation import imputed
from explainers.quality._order import Blocks, Order
from explainers.quality.types import CHECKS, CheckSpec, Rule, Subject

NOISE = 0.01  # standard deviation of what is added to guessed pixels, in units of the network's input
SIDES = 32  # blocks along the input's shorter side
_OFFSETS = ((0.0, 0.0), (0.5, 0.5), (0.5, 0.0), (0.0, 0.5))  # in blocks, down and right


class Road(HidingCheck):
    """Score with the least relevant parts removed, less that with the most relevant removed, less the best control's.

    Removed pixels are guessed from their neighbours by noisy linear imputation, so that a hole does not tell where it
    is. Both orders are reported; so are a random map as smooth as this one and this one blurred: smoothness alone can
    raise the score (Song et al. 2023, arXiv:2304.13836). Repeats move the grid and draw other noise; the interval is over
    them.

    Differs: shares of 10 to 60 %, not 10 to 90 %, because the cost of guessing grows with the third power; pixels go in
    blocks of a thirty-second of the shorter side; logits in units of the controls' range, not accuracy.
    """

    spec = CheckSpec(
        id="road",
        title="ROAD (remove and debias)",
        question="Does the score fall when what the map marks is replaced by its surroundings?",
        measure="margin over the best control, in score drops",
        unit="",
        paper="Rong et al. 2022, arXiv:2202.00449",
        order=40,
        brief="ROAD {} over best control",
        passes=True,
    )
    rule = Rule(
        ok=0.5,
        fails=0.0,
        source="0 is the best control itself; 0.5 is about what the map of another image reached in one of twenty cases "
        "by the method that reached most (benchmarks/trust.py, chest-xray-14, 30 images, three methods: 0.03 to 0.49 by method, 0.29 of all)",
    )
    shares = np.array([0.1, 0.2, 0.4, 0.6])
    names = ("most relevant first", "least relevant first")
    coarse, repeats = 1, len(_OFFSETS)
    shown = (BLURRED,)

    def blocks(self, subject: Subject, repeat: int) -> Blocks:
        side = max(1, round(min(subject.seen.shape) / SIDES))
        down, right = _OFFSETS[repeat]
        offset = (round(down * side), round(right * side))
        return subject.once(("blocks", side, offset), lambda: Blocks.cut(subject.seen, side, offset))

    def curves(self, subject: Subject, repeat: int, orders: Sequence[Order]) -> list[Array]:
        blocks = self.blocks(subject, repeat)
        masks = np.concatenate([blocks.first(one, self.shares) for order in orders for one in (order, order[::-1])])
        image = subject.prepared.tensor
        values = image[0].cpu().numpy()
        noise = NOISE * np.random.default_rng(self._seed(subject, repeat)).standard_normal(values.shape)
        guesses, size, parts = imputed(values, masks), subject.passes.windows, []
        for first in range(0, len(masks), size):
            some = masks[first : first + size, None]
            batch = np.stack([next(guesses) for _ in some])
            subject.passes.ctx.check()
            noisy = (batch + some * noise).astype(np.float32)
            parts.append(subject.scores(torch.from_numpy(noisy).to(image)))
        return list(np.concatenate(parts).reshape(len(orders), 2, len(self.shares)))

    def area(self, curves: Array) -> float:
        return float((curves[1] - curves[0]).mean())

    def passed(self) -> int:
        return 2 * len(self.shares)

    def sentence(self, level: str, control: str) -> str:
        if level == "ok":
            return (
                f"Painting over what the map marks lowers the score clearly more than painting over {control}: the "
                "decision rests on it."
            )
        if level == "weak":
            return (
                "Painting over what the map marks lowers the score little more, or not surely more, than painting over "
                f"{control}: take the map as a hint."
            )
        return (
            f"Painting over what the map marks lowers the score no more than painting over {control}: the map says "
            "little about this decision."
        )


CHECKS.register(Road.spec.id, Road())
