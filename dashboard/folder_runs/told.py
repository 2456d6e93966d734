"""What a run over many images came to, and the sentences that its reader must be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

ShowProgress = Callable[[int, int | None], None]
SENTENCES, NAMED = 50, 3  # kept to be told at the end; the manifest has all


@dataclass
class Told:
    """Sentences about images, each with the number of images that it is true of and the first few of them."""

    images: int = 0
    sentences: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    unsaid: int = 0  # sentences beyond those kept

    def add(self, name: str, *sentences: str) -> None:
        self.images += 1
        for sentence in sentences:
            if sentence not in self.sentences and len(self.sentences) == SENTENCES:
                self.unsaid += 1
                continue
            count, names = self.sentences.get(sentence, (0, []))
            self.sentences[sentence] = count + 1, [*names, name][:NAMED]


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
