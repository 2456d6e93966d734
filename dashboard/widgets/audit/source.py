"""The table under audit: of the zoo, of the data folder, or the reader's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from dashboard.audit.reading import build, guess, has_evaluation, read_frame, zoo_table
from dashboard.audit.table import AuditTable
from dashboard.cases import SYSTEMS
from dashboard.jobs.desk import Desk
from dashboard.state import AuditView, audit_view
from dashboard.widgets.audit.folder import folder_form
from dashboard.widgets.audit.mapping import OwnTable, mapping
from models.card import ModelCard
from models.errors import DataError, SightlineError
from sample_data.samples import data_folder

_EXTERNAL = "cxr14_external_predictions"
_PICK = "audit-source"
ENDINGS = ["csv", "tsv", "txt", "parquet"]


@dataclass
class _Own:
    """Tables of this session by key, and what became of each uploaded file."""

    tables: dict[str, OwnTable] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Choice:
    title: str
    load: Callable[[], AuditTable | None]


def choose_table(desk: Desk) -> AuditTable | None:
    """One row to pick a table and to add one; None while there is none to show, which is then said.

    ``audit_view().source`` is "zoo:ID", "data:NAME" or "own:DIGEST" and may be set by other pages beforehand.
    """
    view, own = audit_view(), _own()
    cards = desk.engine.cards()
    pick, add, score = st.columns([5, 1.4, 1.8], vertical_alignment="bottom")
    with add.popover("Add a table", icon=":material/upload_file:", width="stretch"):
        _upload(own, view, cards)
    with score:
        wanted = st.toggle("Score a folder of images", key="audit-folder-open")
    folder_form(desk, wanted, lambda entry: _take(own, view, entry))
    choices = _choices(cards, own)
    if not choices:
        st.info("There is no table yet: add a CSV or parquet file of scores and labels.", icon=":material/table:")
        return None
    if view.source not in choices:
        view.source = next(iter(choices))
    st.session_state[_PICK] = view.source
    pick.selectbox(
        "Scores and labels",
        list(choices),
        format_func=lambda key: choices[key].title if key in choices else "",
        key=_PICK,
        on_change=_picked,
    )
    if view.source in own.tables:
        mapping(own.tables[view.source], cards)
    try:
        return choices[view.source].load()
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None


def other_table(desk: Desk) -> AuditTable | None:
    """A second table of the same cases, to compare with; None until the reader has chosen one."""
    choices = {
        key: choice for key, choice in _choices(desk.engine.cards(), _own()).items() if key != audit_view().source
    }
    chosen = st.selectbox(
        "Compare with",
        list(choices),
        index=None,
        format_func=lambda key: choices[key].title,
        placeholder="Scores of another model for the same cases",
        key="audit-other",
    )
    return None if chosen is None else choices[chosen].load()


def _own() -> _Own:
    if "audit_own" not in st.session_state:
        st.session_state["audit_own"] = _Own()
    found: _Own = st.session_state["audit_own"]
    return found


def _picked() -> None:
    _turn_to(audit_view(), str(st.session_state[_PICK]))


def _turn_to(view: AuditView, source: str) -> None:
    """Rows of one table mean nothing in another."""
    view.source, view.rows, view.title, view.page = source, (), "", 0


def _take(own: _Own, view: AuditView, entry: OwnTable) -> None:
    """Keep a table of the reader's and show it; titles stay unlike each other."""
    key = f"own:{entry.digest}"
    if key not in own.tables:
        titles = {other.title for other in own.tables.values()}
        plain, count = entry.title, 2
        while entry.title in titles:
            entry.title, count = f"{plain} ({count})", count + 1
        own.tables[key] = entry
    _turn_to(view, key)


def _upload(own: _Own, view: AuditView, cards: Mapping[str, ModelCard]) -> None:
    st.caption(
        "One row a case with columns `score_<class>` and `label_<class>`, or one row a case and class with `class`, "
        "`label` and `score`. Helpful besides: `patient_id`, `split`, age, sex. Other names can be mapped."
    )
    file = st.file_uploader("CSV, TSV or parquet", type=ENDINGS, key="audit-upload")
    st.caption(":material/lock: It stays on this machine, in memory.")
    if file is None:
        return
    if file.file_id not in own.seen:
        own.seen.add(file.file_id)
        data = file.getvalue()
        try:
            digest = hashlib.sha256(data).hexdigest()
            entry = own.tables.get(f"own:{digest}") or OwnTable(file.name, digest, read_frame(data, file.name))
        except DataError as error:
            own.failures[file.file_id] = str(error)
        else:
            _take(own, view, entry)
            if entry.table is None:
                entry.read(cards)
    if file.file_id in own.failures:
        st.error(own.failures[file.file_id], icon=":material/error:")


def _choices(cards: Mapping[str, ModelCard], own: _Own) -> dict[str, _Choice]:
    """Every table at hand by key, the reader's own last."""
    order = list(SYSTEMS)
    systems = sorted(cards.values(), key=lambda card: order.index(card.id) if card.id in order else len(order))
    found = {f"zoo:{card.id}": _of_model(card) for card in systems if has_evaluation(card)}
    found |= {f"data:{path.stem}": _of_file(path) for path in _external_files()}
    found |= {key: _of_reader(entry) for key, entry in own.tables.items()}
    return found


def _of_model(card: ModelCard) -> _Choice:
    return _Choice(card.title, lambda: _zoo(_evaluation_digest(card), card))


def _of_file(path: Path) -> _Choice:
    title = f"Outside model: {path.stem.replace('_', ' ')}"
    return _Choice(title, lambda: _external(_digest(path), path, title))


def _of_reader(entry: OwnTable) -> _Choice:
    return _Choice(entry.title, lambda: entry.table)


def _external_files() -> list[Path]:
    try:
        data = data_folder()
    except DataError:  # the Case page says so
        return []
    return sorted((data / _EXTERNAL).glob("*.parquet")) if data is not None else []


def _evaluation_digest(card: ModelCard) -> str:
    """Of the scores, and of what of the card goes into the table."""
    found = hashlib.sha256(card.model_dump_json(include={"id", "title", "task", "classes", "thresholds"}).encode())
    for path in sorted((card.folder / "evaluation").glob("*.parquet")):
        found.update(_digest(path).encode())
    return found.hexdigest()


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror or type(error).__name__}).") from error


@st.cache_resource(max_entries=16, show_spinner="Reading the scores ...")
def _zoo(digest: str, _card: ModelCard) -> AuditTable:
    return zoo_table(_card)


@st.cache_resource(max_entries=4, show_spinner="Reading the scores ...")
def _external(digest: str, _path: Path, title: str) -> AuditTable:
    frame = read_frame(_path, _path.name)
    return build(frame, guess(frame), title)
