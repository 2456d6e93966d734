"""Small networks, pictures and maps whose faithfulness is known, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explainers.passes import Passes
from explainers.quality.types import Check, Evidence, Subject, Verdict
from explainers.types import Attribution
from models.context import RunContext
from models.preprocess import Prepared
from models.types import FloatArray, Target

SIZE = 32
CORNER, MIDDLE = np.s_[2:10, 20:28], np.s_[12:20, 12:20]


class RegionNet(nn.Module):
    """The score is the mean of one square of the picture, saturating a little: all that it looks at."""

    def __init__(self, place: tuple[slice, slice]) -> None:
        super().__init__()
        weight = torch.zeros(1, 1, SIZE, SIZE)
        weight[(0, 0, *place)] = 1.0
        self.register_buffer("weight", weight / weight.sum())

    def forward(self, image: Tensor) -> Tensor:
        found = 4 * torch.tanh((image * self.weight).sum(dim=(1, 2, 3)) / 3)
        return torch.stack([found, -found], dim=1)


class BlindNet(nn.Module):
    """Ignores its input."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.tensor([[1.5, -0.5]]).repeat(len(image), 1)


class LinearNet(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, image: Tensor) -> Tensor:
        found = (image * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([found, 2 * found], dim=1)


def picture(seed: int = 0, size: int = SIZE, channels: int = 3) -> Prepared:
    """Noise, with a bright square in the corner and one in the middle."""
    draw = np.random.default_rng(seed)
    values = 0.3 * draw.standard_normal((1, 1, size, size))
    for place in (CORNER, MIDDLE):
        values[(0, 0, *place)] += 3.0
    tensor = torch.from_numpy(values.astype(np.float32)).repeat(1, channels, 1, 1)
    return Prepared(tensor, np.eye(3), (size, size), torch.full((channels,), -2.0), torch.zeros(channels))


def subject_of(
    module: nn.Module, prepared: Prepared | None = None, ctx: RunContext | None = None, **more: Any
) -> Subject:
    return Subject(prepared or picture(), Target("A", 0), Passes(module, ctx or RunContext()), **more)


def attribution(values: FloatArray, method: str = "stand-in", **more: Any) -> Attribution:
    stacked = np.asarray(values, dtype=np.float32)[None]
    fields: dict[str, Any] = {"params": {}, "seed": 0, "runtime_s": 0.0, "signed": True, "unit": "logit"} | more
    return Attribution(method, method.title(), Target("A", 0), stacked, **fields)


def evidence(
    subject: Subject,
    values: FloatArray,
    again: Callable[[Tensor], FloatArray] | None = None,
    others: Sequence[Attribution] = (),
    **more: Any,
) -> Evidence:
    made = attribution(values, **more)
    repeat = (lambda _: made) if again is None else (lambda tensor: attribution(again(tensor), **more))
    return Evidence(subject, made, repeat, others)


def marks(place: tuple[slice, slice]) -> FloatArray:
    """A map that marks one square, the same everywhere else."""
    values = np.zeros((SIZE, SIZE), dtype=np.float32)
    values[place] = 1.0
    return values


def final(check: Check, given: Evidence) -> Verdict:
    verdicts = list(check.run(given))
    assert [one.final for one in verdicts] == [False] * (len(verdicts) - 1) + [True]
    return verdicts[-1]
