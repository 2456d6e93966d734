"""The training loop shared by the recipes: seeded, with an average of the weights, best epoch by validation."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from models.types import FloatArray

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: AdamW with a one-cycle learning rate and an exponential average of the weights."""

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    average_decay: float = 0.998
    seed: int = 0


def train(
    module: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    validate: Callable[[nn.Module], float],
    schedule: Schedule,
    device: str = "cpu",
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Fit ``module``; returns the averaged weights of the best validation epoch, and a line per epoch.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N, K) float32 or (N,) int64, as ``loss`` takes them.
        augment: (n, C, H, W) uint8 and a generator to the network's normalised float input.
        validate: averaged module to a score, larger is better.
    """
    torch.manual_seed(schedule.seed)
    draw = torch.Generator().manual_seed(schedule.seed)
    module.to(device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(module).eval()
    steps = schedule.epochs * (len(images) // schedule.batch_size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, total_steps=steps, pct_start=0.25)
    best, best_state, history = -np.inf, average.state_dict(), []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("training", total=steps)
        for epoch in range(schedule.epochs):
            began, total = time.perf_counter(), 0.0
            module.train()
            order = torch.randperm(len(images), generator=draw)
            rows = order[: len(order) // schedule.batch_size * schedule.batch_size].split(schedule.batch_size)
            for chosen in rows:
                inputs = augment(images[chosen], draw).to(device, memory_format=torch.channels_last)
                value = loss(module(inputs), labels[chosen].to(device))
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 5.0)
                optimizer.step()
                pace.step()
                _follow(average, module, min(schedule.average_decay, (pace.last_epoch + 1) / (pace.last_epoch + 10)))
                total += float(value.detach())
                progress.advance(bar)
            score = validate(average)
            history.append(
                {
                    "epoch": epoch + 1,
                    "loss": total / len(rows),
                    "validation": score,
                    "seconds": time.perf_counter() - began,
                }
            )
            progress.console.log(history[-1])
            if score > best:
                best, best_state = score, copy.deepcopy(average.state_dict())
    average.load_state_dict(best_state)
    return average.cpu(), history


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged weights and buffers towards the trained ones."""
    for mean, value in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


@torch.inference_mode()
def logits_of(
    module: nn.Module, images: torch.Tensor, normalise: Callable[[torch.Tensor], torch.Tensor], batch_size: int = 32
) -> FloatArray:
    """(N, K) float32 logits of (N, C, H, W) uint8 images."""
    module.eval()
    device = next(module.parameters()).device
    return np.concatenate(
        [module(normalise(part).to(device)).float().cpu().numpy() for part in images.split(batch_size)]
    )


def keep(module: nn.Module, history: list[dict[str, float]], out: Path) -> None:
    """Write the weights to ``out``/best.pt and the history beside them."""
    out.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), out / "best.pt")
    pd.DataFrame(history).to_csv(out / "history.csv", index=False)
