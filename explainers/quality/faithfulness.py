"""Deletion and insertion: does the score follow what the map marks (Petsiuk et al., BMVC 2018, section 4.2)?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from explainers.methods._baselines import baseline
from explainers.quality._hiding import Array, HidingCheck
from explainers.quality._order import Blocks, Order
from explainers.quality.types import CHECKS, CheckSpec, Rule, Subject

STEPS = 8  # parts that are hidden one after another; each order costs 2 x 7 inputs
SIDES = 16  # blocks along the input's shorter side
_REPEATS = (  # what hides, and by how much of a block the grid is moved down and right
    ("blurred", 0.0, 0.0),
    ("mean", 0.5, 0.5),
    ("blurred", 0.5, 0.0),
    ("mean", 0.0, 0.5),
)


class Faithfulness(HidingCheck):
    """Area between the insertion and the deletion curve, less that of the best control.

    Pixels go in blocks of a sixteenth of the shorter side, by the map's signed value, an eighth of the picture at a
    time. Repeats move the grid and change the fill (the blurred picture, the training mean); the interval is over them.

    Differs: the paper reports the two areas by themselves, of probabilities, pixel by pixel, and compares methods; here
    they are put together, in units of the score's drop, and compared with maps that know nothing of the network.
    """

    spec = CheckSpec(
        id="faithfulness",
        title="Deletion and insertion",
        question="Does the score fall when what the map marks is hidden, and come back when it is shown?",
        measure="margin over the best control, in score drops",
        unit="",
        paper="Petsiuk et al. 2018, arXiv:1806.07421",
        order=20,
        brief="faithful {} over best control",
        passes=True,
    )
    rule = Rule(
        ok=0.3,
        fails=0.0,
        source="0 is the best control itself; 0.3 is about what the map of another image reached in one of twenty cases "
        "by the method that reached most (benchmarks/trust.py, chest-xray-14, 30 images, three methods: 0.00 to 0.32 by method, 0.23 of all)",
    )
    shares = np.linspace(0, 1, STEPS + 1)
    names = ("deletion", "insertion")
    coarse, repeats = 1, len(_REPEATS)

    def blocks(self, subject: Subject, repeat: int) -> Blocks:
        side = max(1, round(min(subject.seen.shape) / SIDES))
        _, down, right = _REPEATS[repeat]
        offset = (round(down * side), round(right * side))
        return subject.once(("blocks", side, offset), lambda: Blocks.cut(subject.seen, side, offset))

    def curves(self, subject: Subject, repeat: int, orders: Sequence[Order]) -> list[Array]:
        fill_name = _REPEATS[repeat][0]
        image = subject.prepared.tensor
        fill = subject.once(("fill", fill_name), lambda: baseline(subject.prepared, fill_name))
        blocks, inner = self.blocks(subject, repeat), self.shares[1:-1]
        hides = [blocks.first(order, inner) for order in orders]
        seen = torch.from_numpy(subject.seen)
        nothing = subject.once(
            ("nothing", fill_name), lambda: float(subject.scores(torch.where(seen.to(image.device), fill, image))[0])
        )
        # Deletion hides the first pixels of an order; insertion, of the same share, shows them and hides the others.
        masks = np.concatenate([np.concatenate([one, subject.seen & ~one]) for one in hides])
        scores = _hidden(subject, masks, fill).reshape(len(orders), 2, len(inner))
        ends = np.array([[subject.whole, nothing], [nothing, subject.whole]])
        return [np.concatenate([ends[:, :1], one, ends[:, 1:]], axis=1) for one in scores]

    def area(self, curves: Array) -> float:
        return float(np.trapezoid(curves[1] - curves[0], self.shares))

    def passed(self) -> int:
        return 2 * (STEPS - 1)

    def sentence(self, level: str, control: str) -> str:
        if level == "ok":
            return f"Hiding what the map marks lowers the score clearly more than hiding {control}: the decision rests on it."
        if level == "weak":
            return (
                f"Hiding what the map marks lowers the score little more, or not surely more, than hiding {control}: "
                "take the map as a hint."
            )
        return (
            f"Hiding what the map marks lowers the score no more than hiding {control}: the map says little about this "
            "decision."
        )


def _hidden(subject: Subject, masks: NDArray[np.bool_], fill: torch.Tensor) -> Array:
    """(n,) scores with the pixels of (n, H, W) masks showing ``fill``."""
    image, size = subject.prepared.tensor, subject.passes.windows
    parts = []
    for first in range(0, len(masks), size):
        mask = torch.from_numpy(masks[first : first + size, None]).to(image.device)
        parts.append(subject.scores(torch.where(mask, fill, image)))
    return np.concatenate(parts)


CHECKS.register(Faithfulness.spec.id, Faithfulness())
