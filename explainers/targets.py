"""From a network's output to the one number an explanation explains."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from models.errors import ExplainError
from models.types import Target


def checked(logits: Any) -> Tensor:
    """A network's output as (N, K) logits. Raises ExplainError where it is something else."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ExplainError(f"Only networks that return (N, K) scores can be explained; this one returned {shape}.")
    return logits


def score(logits: Tensor, target: Target) -> Tensor:
    """The target's score of every image in a batch, differentiable.

    Args:
        logits: (N, K) float, one column a class.
        target: which class, and whether its logit, its probability or a contrast of two logits.

    Returns:
        (N,) of the same dtype: logit units, or a probability in [0, 1].

    Raises:
        ExplainError: the output is not (N, K), or the target names a class it does not have.
    """
    checked(logits)
    column = _column(logits, target.index, target.name)
    if target.output == "contrast":
        return column - _column(logits, target.against_index, target.against_name)
    if target.output == "logit":
        return column
    if target.activation == "sigmoid":
        return column.sigmoid()
    return logits.softmax(dim=1)[:, target.index]


def _column(logits: Tensor, index: int | None, name: str) -> Tensor:
    classes = logits.shape[1]
    if index is None or not 0 <= index < classes:
        raise ExplainError(
            f"Target {name!r} is output {index}, but the network has outputs 0 to {classes - 1}; choose one of these."
        )
    return logits[:, index]
