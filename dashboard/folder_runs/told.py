"""What a run over many images came to, and the sentences that its reader must be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

ShowProgress = Callable[[int, int | None], None]
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
SENTENCES, NAMED = 50, 3  # kept to be told at the end; the manifest has all


@dataclass
class _Kind:
    """Sentences that differ in their numbers alone, with the least and the largest of each."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    least: list[str] = field(default_factory=list)
    most: list[str] = field(default_factory=list)

    def add(self, name: str, numbers: list[str]) -> None:
        self.count += 1
        self.names = [*self.names, name][:NAMED]
        self.least = [min(pair, key=float) for pair in zip(self.least or numbers, numbers, strict=True)]
        self.most = [max(pair, key=float) for pair in zip(self.most or numbers, numbers, strict=True)]

    def sentence(self, words: tuple[str, ...]) -> str:
        """ "2.3 to 3.8 times the usual" for several."""
        spans = [low if low == high else f"{low} to {high}" for low, high in zip(self.least, self.most, strict=True)]
        return "".join(part for pair in zip(words, [*spans, ""], strict=True) for part in pair)


@dataclass
class Told:
    """Sentences about images; those that differ in numbers alone are one."""

    images: int = 0
    unsaid: int = 0  # sentences beyond those kept
    _kinds: dict[tuple[str, ...], _Kind] = field(default_factory=dict)

    def add(self, name: str, *sentences: str) -> None:
        self.images += 1
        for sentence in sentences:
            words = tuple(_NUMBER.split(sentence))
            if words not in self._kinds and len(self._kinds) == SENTENCES:
                self.unsaid += 1
                continue
            self._kinds.setdefault(words, _Kind()).add(name, _NUMBER.findall(sentence))

    @property
    def sentences(self) -> dict[str, tuple[int, list[str]]]:
        """Each with the number of images that it is true of, and the first few of them."""
        return {kind.sentence(words): (kind.count, kind.names) for words, kind in tuple(self._kinds.items())}


@dataclass
class Done:
    """What a run over many images came to.

    Attributes:
        read: images read, in this call or in one before.
        written: images with scores, or maps.
        fresh, seconds: images worked on in this call, and the time that took.
        failures, warnings: what a reader of the results must know.
    """

    read: int = 0
    written: int = 0
    fresh: int = 0
    seconds: float = 0.0
    failures: Told = field(default_factory=Told)
    warnings: Told = field(default_factory=Told)

    @property
    def rate(self) -> float:
        """Images a second."""
        return round(self.fresh / self.seconds, 2) if self.seconds else 0.0
