"""What a batch run needs to know, as a form."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import streamlit as st

from dashboard.cases import readable
from dashboard.folder_runs.desk import Choice
from dashboard.folder_runs.where import Engine
from dashboard.settings import settings
from dashboard.state import DEFAULT_METHODS
from explainers import EXPLAINERS
from models.card import ModelCard

FLAGGED = "The flagged ones"
DOING = {"scores": "Scores", "maps": "Explanations"}
ENGINES: dict[Engine, str] = {"processes": "Processes of this server", "ray": "A Ray cluster"}


def choose_batch(cards: Mapping[str, ModelCard]) -> Choice:
    """The run that the form describes."""
    where, to = st.columns(2)
    within = settings().batch
    example = within or "/path/to"
    source = where.text_input(
        "Images on the server",
        key="batch-source",
        placeholder=f"{example}/images, or a listing in a .csv, .parquet or .txt",
    )
    where.caption("A folder, a zip, or a table with a column `path` or `image`. Of a volume the middle slice is taken.")
    out = to.text_input("Folder for the results", key="batch-out", placeholder=f"{example}/results")
    to.caption("An earlier run that was stopped there goes on." + (f" Both lie in {within}." if within else ""))
    which, what = st.columns(2)
    model = which.selectbox(
        "Model", list(cards), format_func=lambda name: cards[name].title if name in cards else "", key="batch-model"
    )
    doing = what.segmented_control(
        "What to make", list(DOING), format_func=lambda name: DOING[name], default="scores", key="batch-doing"
    )
    engine, workers, address = _workers()
    chosen = Choice(source.strip(), model or "", _as_doing(doing), out.strip(), (), "", engine, workers, address)
    return _maps(chosen, cards[model]) if chosen.doing == "maps" and model in cards else chosen


def _as_doing(name: str | None) -> Literal["scores", "maps"]:
    return "maps" if name == "maps" else "scores"


def _maps(chosen: Choice, card: ModelCard) -> Choice:
    how, of = st.columns(2)
    titles = {one.spec.id: one.spec.title for one in EXPLAINERS}
    methods = how.multiselect(
        "Methods",
        list(titles),
        default=list(DEFAULT_METHODS),
        format_func=lambda name: titles[name],
        key="batch-methods",
    )
    target = of.selectbox(
        "Finding to explain",
        ["", *card.classes],
        format_func=lambda name: readable(name) if name else FLAGGED,
        key=f"batch-target-{card.id}",
    )
    return replace(chosen, methods=tuple(methods), target=target or "")


def _workers() -> tuple[Engine, int | None, str]:
    with st.expander("Who does the work", icon=":material/memory:"):
        who, many = st.columns(2)
        known: list[Engine] = ["processes", "ray"] if importlib.util.find_spec("ray") else ["processes"]
        engine = (
            who.selectbox("Engine", known, format_func=lambda name: ENGINES[name], key="batch-engine") or "processes"
        )
        workers = many.number_input(
            "Processes at a time",
            min_value=1,
            value=None,
            placeholder="as many as suit",
            key="batch-workers",
            help="Each holds a copy of the model. Fewer leave more of the machine to readers.",
        )
        address = settings().ray if engine == "ray" else ""
        if address:
            st.caption(
                f"The cluster at {address} does the work. Images, model folders and results must lie on a disk that all its "
                "machines share."
            )
        if settings().engine:
            st.caption(f"Batch runs use the models and devices of this machine, not the server {settings().engine}.")
    return engine, workers, address
