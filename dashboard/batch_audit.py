"""The audit of a table without the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dashboard.audit.columns import guess
from dashboard.audit.frames import read_frame
from dashboard.audit.metrics import AuditMetrics
from dashboard.audit.reading import build, task_of, zoo_table
from dashboard.audit.table import AuditTable
from dashboard.reports.audit import audit_files
from dashboard.settings import settings
from models.card import CARD_FILE, ModelCard, find_cards, read_card
from models.errors import DataError


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
) -> AuditMetrics:
    """Write every file of an audit to ``out``.

    Args:
        table: file of scores and labels, or the id of an installed model, whose own evaluation is audited.
        model: id or folder of the model that gave the scores, "" where it is not known.
        groups: columns to report by. split: "" for all cases.

    Raises:
        DataError: the table, a column or a split is wrong. ModelError: there is no such model. OSError.
    """
    named = Path(table)
    card = _card(model or ("" if named.is_file() else table))
    read = _read(named, card, logits)
    if split:
        read = read.in_split(split)
    record, files = audit_files(read, card, groups, replicates, seed, progress)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return record


def _card(model: str) -> ModelCard | None:
    if not model:
        return None
    if (Path(model) / CARD_FILE).is_file():
        return read_card(Path(model))
    cards, _ = find_cards(settings().model_folders)
    if model not in cards:
        raise DataError(
            f"{model!r} is neither a table of scores (.csv, .parquet) nor an installed model; installed: {', '.join(cards)}."
        )
    return cards[model]


def _read(path: Path, card: ModelCard | None, logits: bool) -> AuditTable:
    if not path.is_file():
        if card is None:
            raise DataError("The table does not exist; give a .csv or .parquet file, or the id of a model.")
        return zoo_table(card)
    frame = read_frame(path, path.name)
    task = None if card is None else task_of(card)
    found = build(frame, guess(frame), path.stem, task, model_id="" if card is None else card.id, logits=logits)
    if card is None or set(found.classes) != set(card.classes):
        return found
    points = dict(zip(card.classes, card.threshold_array.tolist(), strict=True))
    return found.with_thresholds([points[name] for name in found.classes])
