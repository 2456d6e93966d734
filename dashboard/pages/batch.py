"""The Batch page: whole folders scored or explained while nobody watches."""

from __future__ import annotations

import streamlit as st

from dashboard.state import batch_desk, services
from dashboard.widgets.batch_choices import choose_batch
from dashboard.widgets.batch_run import begin, left_panel, run_panel


def page() -> None:
    """Everything of the page, top to bottom."""
    desk, cards = batch_desk(), dict(services().desk.engine.cards())
    st.subheader("Batch", anchor=False)
    st.caption(
        "Scores or explanations of every image of a folder. A run goes on when this page is closed, one at a time for all "
        "readers of this server; one that is interrupted goes on where it was."
    )
    run, left = desk.run, desk.left
    if run is not None:
        run_panel(desk, run, cards)
    elif left is not None:
        left_panel(desk, left, cards)
    chosen = choose_batch(cards)
    missing = [
        name
        for name, there in (
            ("the images", chosen.source),
            ("a folder for the results", chosen.out),
            ("a model", chosen.model),
            ("a method", chosen.methods or chosen.doing == "scores"),
        )
        if not there
    ]
    running = run is not None and run.state == "running"
    if st.button(
        "Start",
        type="primary",
        icon=":material/play_arrow:",
        key="batch-start",
        disabled=bool(missing) or running,
        help=f"Give {' and '.join(missing)} first." if missing else None,
    ):
        begin(desk, chosen)
