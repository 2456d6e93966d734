"""What a reader waits for on the Case page: ``python -m benchmarks.case``.

As the page asks: scores first, then Grad-CAM, integrated gradients and occlusion together, of one finding. For every
shipped model the seconds until each is there, for the first case of a process (which loads the network and makes it ready)
and for the next.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import typer

from dashboard.cases import middle_slice
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest
from models.types import Image
from sample_data.samples import list_samples, load_sample

ZOO = Path(__file__).parents[1] / "models" / "zoo"
METHODS = ("grad-cam", "integrated-gradients", "occlusion")
Times = dict[str, float]


def waited(desk: Desk, model: str, image: Image) -> Times:
    """Seconds from opening to each result."""
    began = time.perf_counter()
    prediction = desk.predict(model, image, masks=True)
    card = desk.engine.cards()[model]
    times = {"scores": time.perf_counter() - began}
    target = card.target(card.classes[prediction.leading])
    requests = {method: ExplainRequest(model, image, method, target) for method in METHODS}
    open_ = set(METHODS)
    while open_:
        for method in sorted(open_):
            answer = desk.ask(requests[method], "reader")
            if getattr(answer, "partial", None) is not None:
                times.setdefault("coarse occlusion", time.perf_counter() - began)
            if not answer.active:
                assert answer.explanation is not None, answer.message
                times[method] = time.perf_counter() - began
                open_.discard(method)
        time.sleep(0.005)
    return times


def main() -> None:
    rows = ("scores", "grad-cam", "integrated-gradients", "coarse occlusion", "occlusion")
    print(f"{'':22}{'':7}" + "".join(f"{row:>22}" for row in rows))
    for card in sorted(LocalEngine([ZOO]).cards()):
        cases = [entry.id for entry in list_samples() if entry.model == card][:2]
        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(LocalEngine([ZOO]), ResultStore(Path(folder) / "results"))
            for which, case in zip(("first", "next"), cases, strict=False):
                image = load_sample(case).image
                times = waited(desk, card, image.slice(middle_slice(image)))
                cells = "".join(f"{times[row]:22.2f}" if row in times else f"{'-':>22}" for row in rows)
                print(f"{card:22}{which:7}{cells}", flush=True)
            desk.close()


if __name__ == "__main__":
    typer.run(main)
