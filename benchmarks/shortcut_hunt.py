"""Are planted shortcuts found? ``python -m benchmarks.shortcut_hunt [--seeds N] [--kinds corner,ruler,...]``.

Small pictures of a chest-like body with a soft blob in a lung as the finding. In training a tag goes with most of the
findings: a letter in the corner, a ruler at the edge, a bright patch on the body. A tiny network learns from them, and the
hunt goes over the cases that it calls on other such pictures. A plant counts as found where one of a cluster's places
covers at least a quarter of it, and covering that place lowers the score for sure, and enough, more than as much elsewhere.
Controls: no tag, or a tag on as many pictures of either class, which tells nothing; there, the same counts as a false
alarm (for want of a plant, at any of the three places), and so does any cluster that is called a shortcut.
Whether a network took the tag at all is measured apart from maps: by drawing it on held-out pictures without finding.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import PIL.Image
import timm
import tomli_w
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import ndimage
from torch import nn

from dashboard.audit.intervals import wilson
from dashboard.audit.reading import build, guess
from dashboard.audit.table import AuditTable
from dashboard.hunting.masking import Masked, mask_and_predict
from dashboard.hunting.shortcuts import HuntSettings, cases_for, hunt
from dashboard.hunting.signatures import on_image
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from dashboard.jobs.store import ResultStore
from dashboard.serving.local import LocalEngine
from models.context import RunContext
from models.errors import SightlineError
from models.types import FloatArray, Image, Modality
from models.weights import sha256_of

SIZE = 64
TRAINING, HELD_OUT = 384, 160
EPOCHS = 9
SHARE = 0.6  # of the findings that carry the tag
TAKEN = 1.0  # logit that the tag adds to a picture without finding, from which a network counts as having taken it
OVERLAP = 0.25  # of the plant and what lies around it, which a place must cover
AROUND = 4  # px, half a cell of the map's layer: finer the map cannot tell
ARCHITECTURE = "test_resnet"
STRIDE = 8
PLACES = ("corner", "ruler", "patch")
KINDS = (*PLACES, "none", "both classes")
Mask = NDArray[np.bool_]


def tag(kind: str) -> Mask:
    """(SIZE, SIZE) where a tag is bright."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    if kind == "corner":  # an L
        mask[3:12, 4:6], mask[10:12, 4:10] = True, True
    elif kind == "ruler":
        mask[60:61, 8:56] = True
        mask[57:61, 8:56:4] = True
    else:
        mask[52:57, 43:48] = True
    return mask


def pictures(count: int, kind: str, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(n, SIZE, SIZE) in [0, 1], and which hold the finding."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    labels = rng.random(count) < 0.5
    found = np.empty((count, SIZE, SIZE), dtype=np.float32)
    where = rng.random(count)
    for number, finding in enumerate(labels):
        middle, wide = 32 + rng.normal(0, 1.5), rng.normal(1, 0.05)
        body = (np.abs((column - middle) / (27 * wide)) ** 3 + np.abs((row - 36) / 30) ** 3) < 1
        film = 0.12 + 0.38 * body
        lungs = np.zeros_like(body)
        for side in (-1, 1):
            lungs |= (((column - middle - side * 12 * wide) / 8) ** 2 + ((row - 30) / 16) ** 2) < 1
        film = film - 0.28 * lungs
        if finding:
            side, down, size = rng.choice((-1, 1)), rng.uniform(20, 40), rng.uniform(2.5, 4)
            across = middle + side * 12 * wide + rng.uniform(-3, 3)
            film = film + rng.uniform(0.18, 0.3) * np.exp(-((column - across) ** 2 + (row - down) ** 2) / (2 * size**2))
        coarse = rng.normal(size=(SIZE // 8, SIZE // 8)).repeat(8, axis=0).repeat(8, axis=1)
        film = film + 0.03 * coarse + 0.05 * rng.normal(size=film.shape)
        with_tag = where[number] < SHARE and (kind == "both classes" or (finding and kind in PLACES))
        if with_tag:
            film = np.where(tag("corner" if kind == "both classes" else kind), 0.9, film)
        found[number] = film
    return np.clip(found, 0, 1), labels


def trained(kind: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = timm.create_model(ARCHITECTURE, num_classes=1, output_stride=STRIDE)
    images, labels = pictures(TRAINING, kind, np.random.default_rng((seed, 1)))
    inputs = ((torch.from_numpy(images) - 0.5) / 0.25)[:, None].expand(-1, 3, -1, -1)
    truth = torch.from_numpy(labels.astype(np.float32))
    optimiser = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, EPOCHS * -(-len(images) // 32))
    draw = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(images), generator=draw).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(net(inputs[part])[:, 0], truth[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def saved(net: nn.Module, folder: Path) -> None:
    """As a model folder."""
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, weights)
    layer = "layer4"
    size = {"height": SIZE, "width": SIZE, "modality": ["other"], "mean": [0.5] * 3, "std": [0.25] * 3}
    card = {
        "id": "planted",
        "title": "Planted",
        "architecture": f"timm:{ARCHITECTURE}",
        "architecture_args": {"output_stride": STRIDE},
        "task": "binary",
        "classes": ["Finding"],
        "target_layers": [layer],
        "licence": "Apache-2.0",
        "intended_use": "Benchmark.",
        "input": size,
        "training": {"data": "drawn", "licence": "none"},
        "weights": {"file": weights.name, "sha256": sha256_of(weights)},
    }
    (folder / "card.toml").write_text(tomli_w.dumps(card))


@dataclass(frozen=True)
class Trial:
    """One network.

    Attributes:
        added: mean logit that the tag adds to held-out pictures without finding.
        found: a cluster lies on the plant (of a control: on any place of a plant) and covering it lowers the score.
        alarmed: a cluster is called a shortcut.
        failed: why there was no hunt.
    """

    kind: str
    seed: int
    accuracy: float
    added: float
    clusters: int
    cases: int
    found: bool
    alarmed: bool
    seconds: float
    failed: str = ""

    @property
    def taken(self) -> bool:
        return self.added >= TAKEN


def trial(kind: str, seed: int, folder: Path) -> Trial:
    net = trained(kind, seed)
    saved(net, folder / "zoo" / "planted")
    images, labels = pictures(HELD_OUT, kind, np.random.default_rng((seed, 2)))
    shown = folder / "images"
    shown.mkdir()
    for number, picture in enumerate(images):
        PIL.Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(shown / f"case-{number:03d}.png")
    engine = LocalEngine([folder / "zoo"])
    desk = Desk(engine, ResultStore(folder / "cache" / "results"))
    try:
        planes = [as_image(picture) for picture in images]
        answers = engine.predict("planted", planes, RunContext())
        scores = np.array([answer.probabilities[0] for answer in answers])
        plain, _ = pictures(HELD_OUT // 2, "none", np.random.default_rng((seed, 3)))
        added = _added(engine, plain, "corner" if kind not in PLACES else kind)
        table = _table(labels, scores)
        began = time.process_time()
        settings = HuntSettings("Finding", most=150, seed=seed)
        about = {"kind": kind, "seed": seed, "accuracy": float(((scores >= 0.5) == labels).mean()), "added": added}
        try:
            cases = cases_for(table, ImageFolder(shown), engine.cards()["planted"], settings)
            found = hunt(cases, settings, desk, "benchmark", RunContext())
            covered = [
                one
                for cluster in found.clusters
                for one in mask_and_predict(found, cluster, cases, desk, "benchmark", RunContext())
            ]
        except SightlineError as error:
            return Trial(**about, clusters=0, cases=0, found=False, alarmed=False, seconds=0, failed=str(error))
        places = [kind] if kind in PLACES else list(PLACES)
        return Trial(
            **about,
            clusters=len(found.clusters),
            cases=len(found),
            found=any(_on(one, place) for one in covered for place in places),
            alarmed=any(one.finding == "shortcut" for one in covered),
            seconds=time.process_time() - began,
        )
    finally:
        desk.close()


def as_image(picture: FloatArray) -> Image:
    return Image(np.rint(255 * picture)[None] / 255, "unit interval", Modality.OTHER)


def _added(engine: LocalEngine, plain: FloatArray, kind: str) -> float:
    tagged = np.where(tag(kind), np.float32(0.9), plain)
    logits = [
        np.array(
            [answer.logits[0] for answer in engine.predict("planted", [as_image(one) for one in many], RunContext())]
        )
        for many in (plain, tagged)
    ]
    return float((logits[1] - logits[0]).mean())


def _table(labels: NDArray[np.bool_], scores: FloatArray) -> AuditTable:
    frame = pd.DataFrame(
        {
            "case_id": [f"case-{number:03d}" for number in range(len(labels))],
            "label_Finding": labels.astype(int),
            "score_Finding": scores,
        }
    )
    return build(frame, guess(frame), "Held-out pictures", thresholds=[0.5], model_id="planted")


def _on(one: Masked, place: str) -> bool:
    """Whether covering tells, and the place is that of the plant."""
    plant = ndimage.binary_dilation(tag(place), iterations=AROUND)
    covered = on_image(one.region, as_image(np.zeros((SIZE, SIZE), dtype=np.float32)))
    return one.finding in ("shortcut", "decides") and bool(covered[plant].mean() >= OVERLAP)


def share(hits: Sequence[bool]) -> str:
    """ "4 of 5 (38 % to 96 %)"."""
    if not hits:
        return "none"
    low, high = (float(end) for end in wilson(sum(hits), len(hits)))
    return f"{sum(hits)} of {len(hits)} ({low:.0%} to {high:.0%})"


def table(trials: Sequence[Trial]) -> str:
    """One line a kind of plant, and all plants and controls together."""
    head = "| plant | networks | took the tag | found | found, of those that took it | called a shortcut | accuracy | cases | clusters | CPU s |"
    lines = [head, "|---" * 10 + "|"]

    def line(title: str, held: Sequence[Trial], planted: bool) -> str:
        done = [one for one in held if not one.failed]
        taken = [one for one in done if one.taken]
        middle = [
            float(np.median([getattr(one, name) for one in done]))
            for name in ("accuracy", "cases", "clusters", "seconds")
        ]
        words = [
            title,
            str(len(held)),
            share([one.taken for one in held]),
            share([one.found for one in held]),
            share([one.found for one in taken]) if planted else "",
            share([one.alarmed for one in held]),
            f"{middle[0]:.2f}",
            *(f"{number:.0f}" for number in middle[1:3]),
            f"{middle[3]:.1f}",
        ]
        return f"| {' | '.join(words)} |"

    for kind in KINDS:
        held = [one for one in trials if one.kind == kind]
        if held:
            lines.append(line(kind, held, kind in PLACES))
    for title, kinds in (("all plants", PLACES), ("all controls", KINDS[len(PLACES) :])):
        held = [one for one in trials if one.kind in kinds]
        if held:
            lines.append(line(title, held, title == "all plants"))
    return "\n".join(lines)


def main(
    seeds: Annotated[int, typer.Option(help="Networks of each kind.")] = 5,
    first: Annotated[int, typer.Option(help="First seed.")] = 0,
    kinds: Annotated[str, typer.Option(help="Some of the kinds, with commas between.")] = ",".join(KINDS),
) -> None:
    """Train, hunt, and print a Markdown table."""
    torch.set_num_threads(1)
    trials = []
    for seed in range(first, first + seeds):
        for kind in kinds.split(","):
            with tempfile.TemporaryDirectory() as folder:
                trials.append(trial(kind, seed, Path(folder)))
            typer.echo(trials[-1], err=True)
    typer.echo(table(trials))


if __name__ == "__main__":
    typer.run(main)
