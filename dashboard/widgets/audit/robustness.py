"""Robustness: what is left of a class's decisions and maps when the pictures become worse."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from dashboard.audit.intervals import Estimate
from dashboard.cases import readable
from dashboard.figures import robustness as figures
from dashboard.hunting.robustness import MAPPED, enriched, measure
from dashboard.hunting.robustness_result import Robustness, losses, stored_robustness
from dashboard.images import ImageFolder
from dashboard.state import services
from dashboard.widgets.audit.chart import Audit, chart
from dashboard.widgets.audit.hunting import Work, hunted, network_of, stored_or_measured
from explainers import EXPLAINERS
from models.card import ModelCard

_LISTED = 8


def robustness_section(audit: Audit) -> None:
    """The stored measurement, or one of the images at hand."""
    card = network_of(audit, "its pictures cannot be scored again")
    if card is None:
        return
    st.caption(
        "Every picture is made worse, in steps from 1 (hardly seen) to 4 (more than a reader would accept), and scored "
        "and explained again. The bands are 95 % intervals over patients."
    )
    result = stored_or_measured(
        audit, "robustness", "Measured", stored_robustness(card), "measure on them", partial(_measured, audit, card)
    )
    if result is not None:
        _shown(audit, result)


def _measured(audit: Audit, card: ModelCard, folder: ImageFolder) -> Robustness | None:
    most = st.slider(
        "Cases at most", 20, 400, 100, 20, key="robustness-most",
        help="Rare classes are drawn more often. 100 cases take some minutes on a CPU.",
    )  # fmt: skip

    def work(given: Work) -> Robustness:
        cases = enriched(given.cases, most)
        return measure(services().desk.engine, cases, given.ctx, turn=given.turn, part="cases of this table")

    return hunted(audit, card, folder, "robustness", str(most), "Measure on the images at hand", work)


def _shown(audit: Audit, result: Robustness) -> None:
    finding = audit.finding
    unread = f" {result.unread} pictures could not be read." if result.unread else ""
    st.caption(
        f"{result.cases} {result.part} of {result.patients} {result.unit}, at the operating point of each class; "
        f"of many cases, those of rare classes are taken first.{unread}"
    )
    found = losses(result)
    if found:
        own_first = sorted(found, key=lambda one: one.finding != finding)
        lines = [f"- {readable(one.words)}" for one in own_first[:_LISTED]]
        more = f"\n- and {len(found) - _LISTED} more, in the figures below" if len(found) > _LISTED else ""
        st.markdown("**What is lost for sure, and from which strength on**\n" + "\n".join(lines) + more)
        st.caption("Sure means that the 95 % interval of the change lies below 0; of many, some will by chance.")
    else:
        st.markdown("**No loss of sensitivity or specificity is sure with so many cases.**")
    st.markdown(f"**Decisions: {readable(finding)}**")
    chart(
        lambda dark: figures.decisions(result, finding, dark),
        f"robustness-decisions-{finding}",
        f"Sensitivity and specificity for {readable(finding)} by strength of each change of the pictures",
        table(result),
    )
    if not result.method:
        return
    st.markdown(f"**Maps: {readable(finding)}**")
    st.caption(
        f"Mean rank correlation of the {EXPLAINERS.get(result.method).spec.title} map with that of the unchanged picture, of at most {MAPPED} cases "
        "that are called for the class both times; 1 is the same map. Turned and moved pictures have their maps moved back."
    )
    chart(
        lambda dark: figures.maps(result, finding, dark),
        f"robustness-maps-{finding}",
        f"How well maps for {readable(finding)} are kept by strength of each change of the pictures",
    )
    with st.expander("What is done to the pictures"):
        st.dataframe(
            pd.DataFrame(
                [
                    {"Change": one.title, "What it is like": one.about}
                    | {f"Strength {k}": words for k, words in enumerate(one.amounts, start=1)}
                    for one in result.corruptions
                ]
            ),
            hide_index=True,
        )


def table(result: Robustness) -> pd.DataFrame:
    """Everything, one line a class, change and strength."""
    lines = []
    for curves in result.corruptions:
        for finding, points in curves.classes.items():
            for point in (result.clean[finding], *points):
                line: dict[str, object] = {"change": curves.title, "class": finding, "strength": point.strength}
                line["amount"] = curves.amounts[point.strength - 1] if point.strength else "unchanged"
                for name in (
                    "sensitivity",
                    "specificity",
                    "auroc",
                    "sensitivity_change",
                    "specificity_change",
                    "drift",
                ):
                    own: Estimate = getattr(point, name)
                    line |= {name: own.value, f"{name}_low": own.low, f"{name}_high": own.high, f"{name}_n": own.n}
                lines.append(line)
    return pd.DataFrame(lines)
