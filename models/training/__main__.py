"""``python -m models.training RECIPE --data DIR``: train one of the shipped systems again, compare its losses, release it.

``python -m models.training evaluate MODEL --data DIR`` measures a released model again.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.console import Console

from models.card import CARD_FILE, find_cards, read_card
from models.errors import DataError, SightlineError
from models.registry import discover
from models.training import recipes
from models.training.data import Tensors, answer, load, logits_of
from models.training.evaluate import difference
from models.training.evaluate import evaluate as measure_again
from models.training.loop import Schedule, Trainer
from models.training.losses import LOSSES
from models.training.model_page import write_index, write_page
from models.training.publish import add_losses, add_words
from models.training.publish import release as make
from models.training.recipe import RECIPES, Recipe

discover(recipes)
ZOO = Path(__file__).parents[1] / "zoo"
TOLERANCE = 1e-4  # other processors round otherwise
app = typer.Typer(add_completion=False, no_args_is_help=True)
say = Console(stderr=True).print


@app.callback()
def main() -> None:
    """Train, compare and release the shipped systems."""


Data = Annotated[Path, typer.Option(help="Folder with the recipe's data set.")]


def _trainer(
    recipe: Recipe, train: Tensors, val: Tensors, loss: str, schedule: Schedule, device: str, folder: Path | None
) -> Trainer:
    labels = torch.from_numpy(train.rows[list(recipe.classes)].to_numpy("float32", copy=True))
    truth = val.labels.float().numpy()
    torch.manual_seed(schedule.seed)
    return Trainer(
        recipe.build(),
        train.pictures,
        train.labels,
        recipe.augment,
        LOSSES[loss](labels, recipe.card["task"] == "multiclass"),
        answer,
        lambda module: recipe.metric.of(truth, logits_of(module, val.pictures)),
        schedule,
        device,
        folder,
        loss,
    )


def compare(recipe: Recipe, train: Tensors, val: Tensors, out: Path, device: str) -> list[dict[str, Any]]:
    """A short training with every loss of the recipe; the best validation epoch of each goes to ``losses.json``."""
    found = []
    for name in recipe.losses:
        say(f"{recipe.id}: {name}, {recipe.trial.epochs} epochs")
        _, history = _trainer(recipe, train, val, name, recipe.trial, device, None).run()
        found.append(
            {
                "loss": name,
                "metric": recipe.metric.name,
                "value": round(float(history.validation.max()), 4),
                "epochs": recipe.trial.epochs,
            }
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "losses.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    say(pd.DataFrame(found).to_string(index=False))
    return found


def fit(recipe: Recipe, train: Tensors, val: Tensors, loss: str, seed: int, out: Path, device: str) -> None:
    """The full training; goes on where an interrupted one stopped."""
    schedule = replace(recipe.schedule, seed=seed)
    _, history = _trainer(recipe, train, val, loss, schedule, device, out).run()
    facts = {
        "loss": loss,
        "epochs": schedule.epochs,
        "seed": seed,
        "minutes": round(float(history.seconds.sum()) / 60, 1),
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}"
        if device == "cpu"
        else torch.cuda.get_device_name(device),
    }
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    say(f"{recipe.id}: best {recipe.metric.name} {history.validation.max():.4f} on the validation part")


def _refuse_another(folder: Path, loss: str, seed: int) -> None:
    """Raises DataError where the folder holds a finished training of another loss or seed."""
    if (folder / "training.json").is_file():
        done = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        if (done["loss"], done["seed"]) != (loss, seed):
            raise DataError(
                f"{folder} holds a training with loss {done['loss']} and seed {done['seed']}; give another --out."
            )


def _command(recipe: Recipe) -> Callable[..., None]:
    def run(
        data: Data,
        out: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("runs"),
        release: Annotated[
            Path | None, typer.Option(help="Model folder to make (with --compare: to add the losses to).")
        ] = None,
        trials: Annotated[bool, typer.Option("--compare", help="Only compare the losses of the recipe.")] = False,
        loss: Annotated[str, typer.Option(help=f"One of {', '.join(LOSSES)}.")] = recipe.loss,
        seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
        device: Annotated[str, typer.Option(help="cpu, cuda:0 ...")] = "cpu",
    ) -> None:
        folder = out / recipe.id
        if loss not in LOSSES:
            raise typer.BadParameter(f"There is no loss {loss!r}; known: {', '.join(LOSSES)}.")
        try:
            _refuse_another(folder, loss, seed)
            if not (folder / "training.json").is_file() or trials:
                train, val = load(recipe, data, "train"), load(recipe, data, "val")
                if trials:
                    found = compare(recipe, train, val, folder, device)
                    if release is not None:
                        add_losses(release, found)
                    return
                fit(recipe, train, val, loss, seed, folder, device)
            if release is not None:
                make(recipe, data, folder, release)
        except SightlineError as error:
            say(f"[red]{error}[/red]")
            raise typer.Exit(2) from None

    return run


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model, e.g. brain-tumor-mri, or a model folder.")],
    data: Data,
    device: Annotated[str, typer.Option(help="cpu, cuda:0 ...")] = "cpu",
) -> None:
    """Measure a released model's test part again and compare with what is stored beside it."""
    try:
        card = read_card(Path(model) if (Path(model) / CARD_FILE).is_file() else ZOO / model)
        gap = difference(measure_again(RECIPES.get(card.id, DataError), data, card, device), card)
    except SightlineError as error:
        say(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
    say(f"{card.id}: largest difference from the stored evaluation {gap:.2g}")
    if gap > TOLERANCE:
        raise typer.Exit(1)


@app.command()
def words() -> None:
    """Put what the recipes say in words into the cards of the shipped models; nothing is measured."""
    for recipe in RECIPES:
        add_words(ZOO / recipe.id, recipe)


@app.command()
def pages(out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("docs/models")) -> None:
    """Write a readable page for every shipped model, and the table of all."""
    cards, wrong = find_cards([ZOO])
    for name, reason in wrong.items():
        say(f"[red]{name}: {reason}[/red]")
    for card in cards.values():
        write_page(card, out)
    write_index(cards.values(), out)


for _recipe in RECIPES:
    app.command(_recipe.id, help=f"Train {_recipe.card['title']}.")(_command(_recipe))

if __name__ == "__main__":
    app()
