"""Maps by group: do they sit elsewhere for women, for AP films, for another device?"""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from dashboard.cases import readable
from dashboard.figures.drift import mean_maps
from dashboard.hunting.drift import attributes, measure
from dashboard.hunting.drift_result import Comparison, Drift, stored_drift
from dashboard.images import ImageFolder
from dashboard.state import services
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit, chart
from dashboard.widgets.audit.hunting import Work, hunted, network_of, stored_or_measured
from explainers import EXPLAINERS
from models.card import ModelCard

_P = {name: st.column_config.NumberColumn(format="%.4f") for name in ("p", "Corrected p")}
_SHARE = {name: st.column_config.NumberColumn(format="percent") for name in ("Elsewhere", "By chance")}


def drift_section(audit: Audit) -> None:
    """The stored comparison, or one of the images at hand."""
    card = network_of(audit, "no maps can be made of its pictures")
    if card is None:
        return
    if not attributes(audit.table):
        st.info(
            "The table says nothing of the cases. Add a column such as sex, view or device to compare maps by it.",
            icon=":material/info:",
        )
        return
    st.caption(
        "Maps of the cases called for a class, one a patient, those of a group against those of all others. Groups are "
        "compared within the same label and the same half of the scores, so that a group in which the finding is more "
        "frequent does not differ for that reason alone. Of each map counts what lies above its own mean."
    )
    result = stored_or_measured(
        audit, "drift", "Measured", stored_drift(card), "make maps of them", partial(_measured, audit, card)
    )
    if result is not None:
        _shown(audit, result)


def _measured(audit: Audit, card: ModelCard, folder: ImageFolder) -> Drift | None:
    most = st.slider("Maps of each class at most", 20, 400, 100, 20, key="drift-most")

    def work(given: Work) -> Drift:
        engine = services().desk.engine
        return measure(engine, given.cases, given.ctx, turn=given.turn, part="cases of this table", most=most)

    return hunted(audit, card, folder, "drift", str(most), "Compare on the images at hand", work)


def _shown(audit: Audit, result: Drift) -> None:
    if not result.comparisons and not result.not_compared:
        st.caption(f"{result.cases} maps so far; groups are compared at the end.")
        return
    sure = [one for one in result.comparisons if one.sure]
    st.caption(
        f"{EXPLAINERS.get(result.method).spec.title} maps of {result.cases} {result.part}; {len(result.comparisons)} comparisons."
    )
    if sure:
        st.markdown("**Maps that sit elsewhere**\n" + "\n".join(f"- {readable(one.words)}" for one in sure[:6]))
    else:
        st.markdown("**No group's maps are shown to sit elsewhere.** With so few cases, only large moves could be.")
    names = {"focus": f"{readable(audit.finding)} only", "all": "All classes"}
    scope = choice("Classes", names, "drift-scope") if len(audit.table.classes) > 1 else "all"
    listed = [one for one in result.comparisons if scope == "all" or one.finding == audit.finding]
    if not listed:
        st.info(f"No group of {readable(audit.finding)} is large enough to compare.", icon=":material/info:")
    else:
        _compared(listed, result)
    _left_out(audit, result, scope)


def _compared(listed: list[Comparison], result: Drift) -> None:
    frame = pd.DataFrame(
        [
            {
                "Class": readable(one.finding),
                "Group": f"{readable(one.attribute)} {one.group}",
                "n": one.n,
                "Others": one.others,
                "Elsewhere": one.distance,
                "By chance": one.chance,
                "p": one.p,
                "Corrected p": one.adjusted,
            }
            for one in listed
        ]
    )
    st.caption(
        "Elsewhere: share of the mean map that lies in other places than that of the others, 0 to 100 %. By chance: the "
        "same for groups drawn by lot, which is never 0. p: permutation test over patients; corrected for all tests of the "
        "model (Holm). Choose a line."
    )
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"drift-table-{len(listed)}-{listed[0].finding}",
        height=min(320, 38 + 35 * len(frame)),
        column_config=_P | _SHARE,
    )
    one = listed[event.selection.rows[0] if event.selection.rows else 0]
    st.markdown(f"**{readable(one.finding)}: {readable(one.attribute)} {one.group} against the others**")
    across, down = one.moved
    st.caption(
        f"The middle of the map lies {abs(across):.1f} % of the width further {'right' if across > 0 else 'left'} in the "
        f"picture and {abs(down):.1f} % of the height further {'down' if down > 0 else 'up'} than in the others."
    )
    chart(
        lambda dark: mean_maps(one, result.cells, dark),
        f"drift-maps-{one.finding}-{one.attribute}-{one.group}",
        f"Mean maps of {one.group} and of the others over the picture, and their difference",
        frame,
    )
    if one.parts:
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "Part of the picture": part.name.capitalize(),
                        f"{one.group}": part.group.rounded(2),
                        "Others": part.others.rounded(2),
                        "Difference": part.difference.rounded(2),
                    }
                    for part in one.parts
                ]
            ),
            hide_index=True,
        )
        st.caption(
            "Share of the map on each part, with 95 % intervals, not corrected for their number; parts may overlap."
        )


def _left_out(audit: Audit, result: Drift, scope: str) -> None:
    left = [one for one in result.not_compared if scope == "all" or one.finding == audit.finding]
    if left:
        with st.expander(f"Not compared: {len(left)} groups"):
            st.dataframe(
                pd.DataFrame(
                    [
                        {
                            "Class": readable(one.finding),
                            "Group": f"{readable(one.attribute)} {one.group}",
                            "n": one.n,
                            "Why": one.why,
                        }
                        for one in left
                    ]
                ),
                hide_index=True,
            )
