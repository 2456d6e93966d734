"""Scores that several sessions ask for at once, in one pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dashboard.serving.turns import Turn, Turns
from models.context import RunContext
from models.errors import SightlineError
from models.types import Image, Prediction

Score = Callable[[Sequence[Image], RunContext], tuple[Prediction, ...]]


@dataclass(eq=False)
class _Asked:
    images: Sequence[Image]
    answer: tuple[Prediction, ...] | None = None
    error: SightlineError | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class SharedPasses:
    """Scores by one network on one device: whoever gets the device first scores for all that wait.

    Args:
        most: images in one pass.
    """

    def __init__(self, turns: Turns, score: Score, most: int) -> None:
        self._turns, self._score, self.most = turns, score, most
        self._open: list[_Asked] = []
        self._lock = threading.Lock()

    def predict(self, images: Sequence[Image], ctx: RunContext) -> tuple[tuple[Prediction, ...], Turn]:
        """Scores of a few images; and the turn, for the books.

        Raises:
            SightlineError: the network cannot score them; those of others are not affected.
        """
        mine = _Asked(images)
        with self._lock:
            self._open.append(mine)
        try:
            with self._turns.turn(ctx, "scores", quick=not ctx.background, needless=lambda: mine.done) as turn:
                if not mine.done:
                    self._serve(mine)
                    self._turns.look_again()
        finally:
            with self._lock:
                if mine in self._open:
                    self._open.remove(mine)
        if mine.error is not None:
            raise mine.error
        ctx.tick(len(images))
        return mine.answer or (), turn

    def _serve(self, mine: _Asked) -> None:
        """One pass for this one and those that fit beside it."""
        with self._lock:
            together = [mine]
            for asked in self._open:
                if asked is not mine and sum(len(one.images) for one in (*together, asked)) <= self.most:
                    together.append(asked)
            self._open = [asked for asked in self._open if asked not in together]
        try:
            found = self._score([image for asked in together for image in asked.images], RunContext())
        except SightlineError as error:
            if len(together) == 1:
                mine.error = error
                return
            for asked in together:  # one image's fault is not the others'
                try:
                    asked.answer = self._score(asked.images, RunContext())
                except SightlineError as own:
                    asked.error = own
            return
        first = 0
        for asked in together:
            asked.answer = found[first : first + len(asked.images)]
            first += len(asked.images)
