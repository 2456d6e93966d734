"""Which processes do the work of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["local", "processes", "ray"]


@dataclass(frozen=True)
class Where:
    """Which processes do the work of a run.

    Attributes:
        engine: this one, others on this machine, or those of a Ray cluster.
        workers: how many; of "local" those that decode. None for what suits.
        address: of the cluster, "" for one that is started here and ends with the run.
        gpus: of the cluster, for each worker; a fraction shares one.
    """

    engine: Engine = "local"
    workers: int | None = None
    address: str = ""
    gpus: float = 0.0


HERE = Where()
