"""What the commands share: the typer app, sentences instead of tracebacks, progress and the answer on stdout."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from dashboard.folder_runs.pace import Pace
from dashboard.folder_runs.where import Engine, Where
from models.errors import SightlineError

if TYPE_CHECKING:
    from dashboard.folder_runs.told import Told

HELP = """The dashboard's functions without the browser.

Progress goes to stderr, results to files, one JSON line to stdout. Exit code 0, or 2 with one sentence.
"""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)
screen = Console(stderr=True)
SECONDS = 30.0  # between lines of progress where there is no terminal

ModelOption = Annotated[str, typer.Option("--model", help="Model id, or a model folder of your own.")]
SliceOption = Annotated[
    int | None,
    typer.Option(
        "--slice",
        help="Slice of a volume as Sightline shows it (NIfTI turned to axial), from 0; the middle one if not given.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that decode (local; 0: none) or do the work (processes, ray). If not given: as many as suit the files "
        "and the machine.",
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(help="Who works: this process, several processes of this machine, or the tasks of a Ray cluster."),
]
AddressOption = Annotated[
    str, typer.Option(help="Of a Ray cluster; if not given, Ray is started on this machine and ends with the run.")
]
GpusOption = Annotated[float, typer.Option(min=0, help="GPUs of each Ray task; a fraction shares one.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="Throw away what an earlier call left in the output.")]


def stop(message: str) -> typer.Exit:
    screen.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(2)


def warn(sentences: Iterable[str]) -> None:
    """What the user must know of a result, in yellow."""
    for one in sentences:
        screen.print(one, style="yellow", markup=False, highlight=False, soft_wrap=True)


def sentence(error: Exception) -> str:
    """One line for people: our own errors say it themselves, the system's are named."""
    if isinstance(error, SightlineError):
        return str(error)
    if isinstance(error, OSError):
        return f"The output cannot be written ({error.strerror or type(error).__name__}); choose another --out."
    return f"The network cannot run here: {str(error).splitlines()[0]}; check SIGHTLINE_DEVICE."


def answer(**facts: Any) -> None:
    typer.echo(json.dumps(facts))


def where(engine: Engine, workers: int | None, address: str, gpus: float) -> Where:
    """The options as a run takes them. Raises typer.Exit for those that do not go together."""
    if engine != "ray" and (address or gpus):
        raise stop("--address and --gpus are of a Ray cluster; add --engine ray.")
    if engine != "local" and workers == 0:
        raise stop(f"--engine {engine} needs at least one worker; give --workers 1 or more.")
    return Where(engine, workers, address, gpus)


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C ends a run that the same command takes up again."""
    try:
        yield
    except KeyboardInterrupt:
        raise stop("Stopped; what is done is kept, and the same command goes on from there.") from None


@contextmanager
def meter(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with done and total, images a second and the time left; away from a terminal a line now and then."""
    pace = Pace()
    if screen.is_terminal:
        columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
        with Progress(*columns, console=screen, transient=True) as progress:
            bar = progress.add_task(doing, total=None, pace="")
            yield lambda done, total: progress.update(bar, completed=done, total=total, pace=pace.words(done, total))
        return
    told = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        words = pace.words(done, total)
        if time.monotonic() - told >= SECONDS:
            told = time.monotonic()
            of = "" if total is None else f"{done:,} of {total:,}, "
            screen.print(f"{doing}: {of}{words}", highlight=False, soft_wrap=True)

    yield tell


def report(told: Told) -> None:
    for sentence, (count, names) in told.sentences.items():
        who = f"{', '.join(names)} and {count - len(names):,} more" if count > len(names) else ", ".join(names)
        screen.print(f"{who}: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if told.unsaid:
        screen.print(f"And {told.unsaid:,} more; all are in the manifest.", style="yellow", highlight=False)
