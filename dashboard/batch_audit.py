"""The audit of a table without the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dashboard.audit.columns import guess
from dashboard.audit.frames import read_frame
from dashboard.audit.metrics import AuditMetrics
from dashboard.audit.reading import build_for, zoo_table
from dashboard.audit.table import AuditTable
from dashboard.reports.audit import audit_files
from dashboard.settings import settings
from models.card import CARD_FILE, ModelCard, find_cards, read_card
from models.errors import DataError

ALL, TEST = "all", "test"


def audit_path(
    table: str,
    out: Path,
    model: str = "",
    groups: Sequence[str] = (),
    split: str = "",
    logits: bool = False,
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
    against: str = "",
) -> AuditMetrics:
    """Write every file of an audit to ``out``.

    Args:
        table: file of scores and labels, or the id of an installed model, whose own evaluation is audited.
        model: id or folder of the model that gave the scores of a file, "" where it is not known.
        groups: columns to report by.
        split: the part to audit, "all" for every case; if not given "test" where there is such a part.
        logits: the scores of ``table`` are logits.
        against: a second table of the same cases, of probabilities, or a model's id, to compare with; "" for none.

    Raises:
        DataError: the table, a column or a split is wrong. ModelError: there is no such model. OSError.
    """
    read, card = _read(table, model, logits)
    other = _read(against, "", logits=False)[0] if against else None
    record, files = audit_files(_part(read, split), card, groups, replicates, seed, progress, other)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return record


def _read(table: str, model: str, logits: bool) -> tuple[AuditTable, ModelCard | None]:
    path = Path(table)
    if not path.is_file():
        own = _card(table, "neither a table of scores (.csv, .tsv, .parquet) nor an installed model")
        if model and _card(model).id != own.id:
            raise DataError(f"{table!r} is the evaluation of {own.title}; leave out --model, or give a file of scores.")
        return zoo_table(own), own
    card = _card(model) if model else None
    frame = read_frame(path, path.name)
    return build_for(card, frame, guess(frame), path.stem, logits=logits), card


def _card(model: str, otherwise: str = "not an installed model") -> ModelCard:
    if (Path(model) / CARD_FILE).is_file():
        return read_card(Path(model))
    cards, _ = find_cards(settings().model_folders)
    if model not in cards:
        raise DataError(f"{model!r} is {otherwise}; installed: {', '.join(cards)}.")
    return cards[model]


def _part(table: AuditTable, split: str) -> AuditTable:
    """The part to audit, with a note of the choice where nobody made it."""
    if split and split != ALL:
        return table.in_split(split)
    if len(table.splits) < 2:
        return table
    if not split and TEST in table.splits:
        part = table.in_split(TEST)
        note = (
            f"Only the part {TEST} is audited ({len(part):,} of {len(table):,} cases; parts: "
            f"{', '.join(table.splits)}); --split takes another, or {ALL}."
        )
        return replace(part, notes=(*part.notes, note))
    note = (
        f"The parts {', '.join(table.splits)} are audited together; figures of a part that the model, its calibration "
        "or its operating points were fitted to are too good."
    )
    return replace(table, notes=(*table.notes, note))
