"""The networks on one device: loaded when first asked for, let go when they take too much of its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dashboard.serving.sharing import SharedPasses
from dashboard.serving.turns import Turns
from dashboard.serving.types import DeviceHealth, LoadedModel
from explainers import EXPLAINERS
from explainers.runtime.choices import Choices
from explainers.runtime.memory import free_bytes, give_back, most, total_bytes
from explainers.runtime.model import PreparedModel
from models.card import ModelCard
from models.errors import Busy
from models.handle import ModelHandle
from models.inspect import Inspection, inspect

REST_S = 20.0  # after work has ended, until what it freed is given back; as often at most
SHARE = 0.5  # of the memory that is free at the start, for networks; the rest is for passes


class Loaded(PreparedModel):
    """A prepared network, and what is known of it.

    Attributes:
        inspection: its size and layers.
        unsupported: methods that cannot explain this network, with the reason.
        users: pieces of work that need it now.
        used: when it was last asked for, in seconds of the monotonic clock.
    """

    inspection: Inspection
    unsupported: dict[str, str]
    shared: SharedPasses

    def __init__(self, handle: ModelHandle, choices: Choices, turns: Turns) -> None:
        super().__init__(handle, choices)
        self.shared = SharedPasses(turns, self.predict, most(handle.device))
        self.users, self.used = 0, time.monotonic()

    def learn(self, module: nn.Module) -> None:
        self.inspection = inspect(module, self.probe)
        answers = {method.spec.id: method.supports(module, self.default_layer) for method in EXPLAINERS}
        self.unsupported = {method: answer.reason for method, answer in answers.items() if not answer.ok}


class Device:
    """One device. Safe to use from any thread.

    Args:
        name: "cpu", "cuda:0", "mps" ...
        limit_mb: of networks, beyond which the one longest unused goes; None for half of the memory that is free now.
    """

    def __init__(self, name: str, choices: Choices, limit_mb: int | None = None) -> None:
        self.name = name
        self.turns = Turns(name)
        self._torch, self._choices = torch.device(name), choices
        free = free_bytes(self._torch)
        self._limit = int(SHARE * free) if limit_mb is None and free is not None else (limit_mb or 4096) * 2**20
        self._loaded: dict[str, Loaded] = {}
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._resting: threading.Timer | None = None

    def get(self, model_id: str) -> Loaded | None:
        """The network if it is loaded."""
        return self._loaded.get(model_id)

    @contextmanager
    def using(self, card: ModelCard) -> Iterator[Loaded]:
        """The network, loaded if it is not; it stays until the context ends. Raises ModelError or Unavailable."""
        with self._lock:
            loading = self._loading.setdefault(card.id, threading.Lock())
        with loading:  # another model can be loaded or used meanwhile
            model = self._take(card)
            if model is None:
                made = self._load(card)
                with self._lock:
                    before = self._loaded.pop(card.id, None)
                    self._loaded[card.id] = model = made
                    model.users += 1
                if before is not None:
                    before.close()
        self._make_room()
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1
                model.used = time.monotonic()
                self._rest()

    def drop(self, model_id: str) -> None:
        """Let go of a network; work that it is in use for goes on."""
        with self._lock:
            model = self._loaded.pop(model_id, None)
        if model is not None:
            model.close()

    def close(self) -> None:
        with self._lock:
            if self._resting is not None:
                self._resting.cancel()
        for model_id in list(self._loaded):
            self.drop(model_id)

    def health(self) -> DeviceHealth:
        held = sum(model.nbytes for model in list(self._loaded.values()))
        free, total = free_bytes(self._torch), total_bytes(self._torch)
        return DeviceHealth(self.name, free, total, held, self._limit, self.turns.waiting, self.turns.working or "")

    def models(self) -> tuple[LoadedModel, ...]:
        now = time.monotonic()
        return tuple(
            LoadedModel(model_id, self.name, model.nbytes, 0.0 if model.users else now - model.used)
            for model_id, model in list(self._loaded.items())
        )

    def _rest(self) -> None:
        """Under the lock."""
        if self._resting is None:
            self._resting = threading.Timer(REST_S, self._give_back)
            self._resting.name, self._resting.daemon = f"sightline-rest-{self.name}", True
            self._resting.start()

    def _give_back(self) -> None:
        with self._lock:
            self._resting = None
        give_back()

    def _take(self, card: ModelCard) -> Loaded | None:
        with self._lock:
            model = self._loaded.get(card.id)
            if model is None or model.card != card:  # changed since
                return None
            model.users += 1
            return model

    def _load(self, card: ModelCard) -> Loaded:
        try:
            return Loaded(ModelHandle.load(card, self.name), self._choices, self.turns)
        except torch.OutOfMemoryError:
            self._make_room(everything=True)
        try:
            return Loaded(ModelHandle.load(card, self.name), self._choices, self.turns)
        except torch.OutOfMemoryError:
            raise Busy(
                f"There is not enough memory on {self.name} for model {card.id} now; close other programs that use it."
            ) from None

    def _make_room(self, everything: bool = False) -> None:
        """Let go of networks that nothing uses, the one longest unused first, until the rest is within the limit."""
        gone: list[Loaded] = []
        with self._lock:
            idle = sorted((one for one in self._loaded.values() if not one.users), key=lambda one: one.used)
            held = sum(one.nbytes for one in self._loaded.values())
            for model in idle:
                if held <= self._limit and not everything:
                    break
                held -= model.nbytes
                gone.append(self._loaded.pop(model.card.id))
        for model in gone:
            model.close()
        if gone and self._torch.type == "cuda":
            torch.cuda.empty_cache()
