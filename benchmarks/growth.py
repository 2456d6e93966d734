"""Whether memory grows with the number of explanations: ``python -m benchmarks.growth [--requests N]``.

Requests of one shipped model, each with another image, through the engine as the app calls it; the process's memory after
the first tenth and at the end.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest
from models.context import RunContext
from models.types import Image, Modality

ZOO = Path(__file__).parents[1] / "models" / "zoo"
METHODS = {"grad-cam": {}, "integrated-gradients": {"steps": 9}, "occlusion": {"window": 48, "stride": 40}}
MODEL = "chest-xray-14"


def resident() -> float:
    """MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def main(requests: Annotated[int, typer.Option(help="Images, each explained by three methods.")] = 500) -> None:
    engine = LocalEngine([ZOO])
    target = engine.cards()[MODEL].target(engine.cards()[MODEL].classes[0])
    draw = np.random.default_rng(0)
    marks = {requests // 10, requests // 2, requests}
    for number in range(1, requests + 1):
        image = Image(draw.random((1, 128, 128)).astype(np.float32), "1", Modality.XRAY)
        engine.predict(MODEL, [image], RunContext())
        for method, params in METHODS.items():
            engine.explain(ExplainRequest(MODEL, image, method, target, params), RunContext())
        if number in marks:
            print(f"after {number} images: {resident():.0f} MB", flush=True)
    engine.close()


if __name__ == "__main__":
    typer.run(main)
