"""How the weights came about, and how they stand up to poorer images."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.cases import readable
from dashboard.figures.curves import history, robustness
from dashboard.widgets.model_figure import show
from models.card import ModelCard
from models.evaluation import Evaluation, read_history

UNCHANGED = "none"  # the corruption of images that were left as they are


def training_tab(card: ModelCard, evaluation: Evaluation | None) -> None:
    training = card.training
    facts = {
        "Loss": training.loss,
        "Epochs": training.epochs or "",
        "Seed": training.seed if training.loss else "",
        "Time": f"{training.minutes:.0f} min" if training.minutes else "",
        "Machine": training.machine,
        "Recipe": f"`{training.recipe}`" if training.recipe else "",
    }
    st.markdown(
        " · ".join(f"**{name}** {fact}" for name, fact in facts.items() if fact != "")
        or "The card says nothing of the training."
    )
    metric = card.losses[0].metric if card.losses else "main measure"
    if training.history is None:
        st.info("No training history is stored beside this model.")
    else:
        epochs = read_history(card.folder / training.history)
        series = [epoch.epoch for epoch in epochs], [epoch.loss for epoch in epochs], [e.validation for e in epochs]
        show(lambda dark: history(*series, metric, dark), "history", "Training loss and validation measure by epoch")
    left, right = st.columns(2, gap="large")
    with left:
        _losses(card)
    with right:
        _counts(evaluation)


def _losses(card: ModelCard) -> None:
    if not card.losses:
        st.caption("No other losses were compared.")
        return
    st.markdown("**Losses compared** on the validation part, after the same short training")
    best = max(card.losses, key=lambda trial: trial.value)
    rows = [
        {
            "Loss": trial.loss + (" (best)" if trial is best else ""),
            "Measure": trial.metric,
            "Value": f"{trial.value:.3f}",
            "Below the best": "" if trial is best else f"{best.value - trial.value:.3f}",
            "Epochs": trial.epochs,
        }
        for trial in card.losses
    ]
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    if card.training.loss_note:
        st.caption(card.training.loss_note)


def _counts(evaluation: Evaluation | None) -> None:
    if evaluation is None or not evaluation.counts:
        st.caption("Class counts were not stored.")
        return
    st.markdown("**Images by part and class**")
    table = pd.DataFrame(evaluation.counts).fillna(0).astype(int)
    table.index = [readable(str(name)) for name in table.index]
    unit = evaluation.group_unit[:1].upper() + evaluation.group_unit[1:]
    for name, sizes in (("All images", evaluation.cases), (unit, evaluation.groups)):
        if sizes:
            table.loc[name] = [sizes.get(str(split), 0) for split in table.columns]
    st.table(table.map("{:,}".format).reset_index(names="Class"), border="horizontal", hide_index=True)


def robustness_tab(card: ModelCard) -> None:
    if not card.robustness and card.unusual is None:
        st.info("Robustness was not measured for this model.")
        return
    if card.robustness:
        metric = card.robustness[0].metric
        clean = next((entry.value for entry in card.robustness if entry.corruption == UNCHANGED), None)
        values: dict[str, list[tuple[int, float]]] = {}
        for entry in sorted(card.robustness, key=lambda entry: entry.strength):
            if entry.corruption != UNCHANGED:
                values.setdefault(readable(entry.corruption), []).append((entry.strength, entry.value))
        count = card.robustness[0].n
        shown = f" {count:,}" if count else ""
        beside = f"; the broken line is the value without corruption, {clean:.3f}" if clean is not None else ""
        st.markdown(f"**{metric} on{shown} corrupted test images**, by strength{beside}")
        show(lambda dark: robustness(values, metric, clean, dark), "robustness", f"{metric} by corruption and strength")
        rows = [{"Corruption": name, **{str(s): f"{v:.3f}" for s, v in pairs}} for name, pairs in values.items()]
        table = pd.DataFrame(rows).rename(columns={"1": "Mild", "2": "Medium", "3": "Strong"})
        st.table(table.fillna(""), border="horizontal", hide_index=True)
    if card.unusual is not None:
        st.markdown(
            f"**Unusual images**: {card.unusual.kept:.1%} of the model's own validation images raise no warning."
        )
        found = [
            {"Kind of image": kind, "AUROC": f"{auroc:.3f}", "n": str(card.unusual.n.get(kind, ""))}
            for kind, auroc in card.unusual.auroc.items()
        ]
        if found:
            st.table(pd.DataFrame(found), border="horizontal", hide_index=True)
            st.caption("AUROC: how well the feature distance tells such images from the model's own test images.")
