"""The training loop of all recipes: seeded, resumable, with an average of the weights, best epoch by validation."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from models.errors import DataError
from models.training.augment import Augment
from models.training.losses import Loss


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: AdamW with a one-cycle learning rate and an exponential average of the weights.

    ``frozen`` names layers that keep their ImageNet weights, which halves the time of the early, wide ones.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    average_decay: float = 0.998
    seed: int = 0
    frozen: tuple[str, ...] = ()


class Trainer:
    """A network on its way: one call of :meth:`run` goes on from the last whole epoch kept in ``folder``.

    Args:
        pictures: (n, 3, H, W) uint8.
        labels: (n, K) float32, or (n, K, H, W) uint8 masks.
        answer: the network's logits that the loss is taken of (a U-Net's masks, else its output).
        validate: averaged network to a score, larger is better.
        folder: receives ``best.pt``, ``history.csv`` and, until done, ``state.pt``; None keeps nothing.
        about: what else tells this training from others (its loss); only the same one is gone on with.
    """

    def __init__(
        self,
        module: nn.Module,
        pictures: torch.Tensor,
        labels: torch.Tensor,
        augment: Augment,
        loss: Loss,
        answer: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        validate: Callable[[nn.Module], float],
        schedule: Schedule,
        device: str = "cpu",
        folder: Path | None = None,
        about: str = "",
    ) -> None:
        self.pictures, self.labels, self.device, self.schedule = pictures, labels, torch.device(device), schedule
        self.augment, self.loss, self.answer, self.validate = augment, loss, answer, validate
        self.folder = folder
        self.about = f"{about} {schedule}".strip()
        self.module = module.to(self.device).to(memory_format=torch.channels_last)
        self.fixed = [part for name, part in module.named_modules() if name in schedule.frozen]
        for part in self.fixed:
            part.requires_grad_(False)
        self.average = copy.deepcopy(self.module).eval()
        self.optimizer = torch.optim.AdamW(
            [weight for weight in self.module.parameters() if weight.requires_grad],
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        self.steps = len(pictures) // schedule.batch_size
        self.pace = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.learning_rate, total_steps=schedule.epochs * self.steps, pct_start=0.25
        )
        self.history: list[dict[str, float]] = []
        self.best = -np.inf
        self.best_state: dict[str, Any] = copy.deepcopy(self.average.state_dict())

    def run(self) -> tuple[nn.Module, pd.DataFrame]:
        """The averaged network of the best validation epoch, on the CPU, and one line an epoch."""
        torch.manual_seed(self.schedule.seed)
        self._resume()
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(
                "training", total=self.schedule.epochs * self.steps, completed=len(self.history) * self.steps
            )
            for epoch in range(len(self.history), self.schedule.epochs):
                began = time.perf_counter()
                loss = self._epoch(lambda: progress.advance(bar))
                score = self.validate(self.average)
                line = {"epoch": epoch + 1, "loss": loss, "validation": score, "seconds": time.perf_counter() - began}
                self.history.append(line)
                progress.console.log(" ".join(f"{name} {value:.4g}" for name, value in line.items()))
                if score > self.best:
                    self.best, self.best_state = score, copy.deepcopy(self.average.state_dict())
                self._keep(done=epoch + 1 == self.schedule.epochs)
        self.average.load_state_dict(self.best_state)
        return self.average.cpu(), pd.DataFrame(self.history)

    def _epoch(self, advance: Callable[[], None]) -> float:
        self.module.train()
        for part in self.fixed:
            part.eval()
        total = 0.0
        for chosen in torch.randperm(len(self.pictures))[: self.steps * self.schedule.batch_size].view(self.steps, -1):
            inputs, labels = self.augment(self.pictures[chosen], self.labels[chosen])
            inputs = inputs.to(self.device, memory_format=torch.channels_last)
            value = self.loss(self.answer(self.module, inputs), labels.to(self.device, torch.float32))
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
            self.optimizer.step()
            self.pace.step()
            _follow(
                self.average,
                self.module,
                min(self.schedule.average_decay, (self.pace.last_epoch + 1) / (self.pace.last_epoch + 10)),
            )
            total += float(value.detach())
            advance()
        return total / self.steps

    def _keep(self, done: bool) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.best_state, self.folder / "best.pt")
        pd.DataFrame(self.history).to_csv(self.folder / "history.csv", index=False)
        state = self.folder / "state.pt"
        if done:
            state.unlink(missing_ok=True)
            return
        parts = {name: getattr(self, name).state_dict() for name in ("module", "average", "optimizer", "pace")}
        rest = {"history": self.history, "best": float(self.best), "best_state": self.best_state, "about": self.about}
        partial = state.with_suffix(".part")
        random = {"random": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["random_cuda"] = torch.cuda.get_rng_state(self.device)
        torch.save(parts | rest | random, partial)
        partial.replace(state)  # a kill while writing leaves the last whole epoch

    def _resume(self) -> None:
        if self.folder is None or not (self.folder / "state.pt").is_file():
            return
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)
        if state.get("about") != self.about:
            raise DataError(
                f"{self.folder} holds an interrupted training of another loss, seed or schedule; give another --out, "
                "or delete it."
            )
        for name in ("module", "average", "optimizer", "pace"):
            getattr(self, name).load_state_dict(state[name])
        self.history, self.best, self.best_state = state["history"], state["best"], state["best_state"]
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the averaged weights and buffers towards the trained ones."""
    for mean, value in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
