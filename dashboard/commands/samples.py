"""``python -m dashboard samples``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from dashboard.commands.shared import answer, app, screen, stop
from models.errors import SightlineError


@app.command()
def samples(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fill the medmnist cache from the network first.")] = False,
) -> None:
    """List the sample cases with origin and licence."""
    from sample_data import samples as library

    try:
        if fetch:
            library.fetch()
        entries = library.list_samples()
    except SightlineError as error:
        raise stop(str(error)) from None
    table = Table()
    table.add_column("id", no_wrap=True, overflow="ignore")
    for name in ("title", "system", "kind", "licence"):
        table.add_column(name)
    for entry in entries:
        table.add_row(entry.id, entry.title, entry.system, entry.kind, entry.licence)
    screen.print(table)
    answer(samples=[entry.id for entry in entries])
