"""The hunt for shortcuts: maps of one class in clusters, and what covering their place does to the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.intervals import Estimate
from dashboard.cases import readable
from dashboard.figures.shortcuts import eigenvalues, scatter
from dashboard.figures.style import Figure
from dashboard.hunting.beside import SOURCE
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.masking import REGION, Finding, Masked, mask_and_predict, region_of
from dashboard.hunting.montage import Tile, montage
from dashboard.hunting.shortcuts import Cluster, HuntSettings, ShortcutHunt, cases_for, hunt, hunt_key
from dashboard.hunting.signatures import picture
from dashboard.hunting.spray import LEAST
from dashboard.images import ImageFolder
from dashboard.jobs.runner import Job
from dashboard.state import hunt_jobs, owner, services
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit, chart, open_cases
from dashboard.widgets.audit.images import images_of
from explainers import EXPLAINERS
from models.card import ModelCard

MOST, USUAL = 500, 150
SHOWN = 12  # cases of a montage
_LEVEL = {"ok": "✓ no", "weak": "△ some", "fails": "✕ yes", "not assessable": "– not assessable"}
_ICON = {"ok": ":material/check_circle:", "weak": ":material/help:", "fails": ":material/error:"}
_AMONG = {"called": "Called by the model", "labelled": "Labelled"}


@dataclass
class _View:
    """What this session hunts for.

    Attributes:
        asked: key of the hunt under way or shown, "" for none; ``cases`` are its cases.
        found: its result, kept here since few are kept elsewhere.
        covering: number of the cluster whose place is being covered, 0 for none.
        masked: results by cluster. sheets: montages by cluster.
    """

    asked: str = ""
    cases: Cohort | None = None
    settings: HuntSettings | None = None
    found: ShortcutHunt | None = None
    covering: int = 0
    masked: dict[int, tuple[Masked, ...]] = field(default_factory=dict)
    sheets: dict[tuple[int, bool], bytes] = field(default_factory=dict)


def shortcuts_section(audit: Audit) -> None:
    """Choices, the hunt, its clusters."""
    st.caption(
        "A model that decides by several things has maps of several kinds. Maps of one class are sorted into clusters "
        "that look alike (SpRAy, Lapuschkin et al. 2019); one that lies on a marker, a ruler or the edge of the pictures "
        "may be a shortcut. Covering its place on all of its cases shows whether the score rests on it."
    )
    card = services().desk.engine.cards().get(audit.table.model_id)
    if card is None:
        st.info("Maps need the network; choose the table of a model that is installed here.", icon=":material/info:")
        return
    folder = images_of(audit.table, "shortcuts")
    if folder is None:
        st.caption("Give the folder of the images: maps are made of them.")
        return
    view = _view()
    settings = _choices(audit)
    start = st.button("Hunt", type="primary", icon=":material/search:", key="shortcuts-start")
    if start:
        _start(audit, folder, card, settings, view)
    job = hunt_jobs().look(view.asked) if view.asked else None
    if view.found is None and job is not None and job.active:
        st.fragment(_watch, run_every=0.7)(view.asked, "Making maps", view)
    elif view.found is None and job is not None:
        _ended(job, view)
    elif view.found is None and view.asked:
        st.info("Let go of meanwhile; press Hunt again.", icon=":material/history:")
    if view.found is not None and view.cases is not None:
        if view.cases.table.digest != audit.table.digest:
            st.info("The last hunt was in another table or part of it; press Hunt again.", icon=":material/history:")
        else:
            _result(audit, view, view.found, view.cases, view.settings == settings)


def _view() -> _View:
    if "audit_shortcuts" not in st.session_state:
        st.session_state["audit_shortcuts"] = _View()
    found: _View = st.session_state["audit_shortcuts"]
    return found


def _choices(audit: Audit) -> HuntSettings:
    among, method, count = st.columns([2, 2, 1.2], vertical_alignment="bottom")
    with among:
        chosen = choice(f"Cases: {readable(audit.finding)}", _AMONG, "shortcuts-among")
    titles = {one.spec.id: one.spec.title for one in EXPLAINERS}
    name = method.selectbox(
        "Maps by",
        list(titles),
        index=list(titles).index("grad-cam"),
        format_func=titles.__getitem__,
        key="shortcuts-method",
    )
    most = count.number_input(
        "Cases at most", LEAST, MOST, USUAL, 10, key="shortcuts-most", help="Drawn at random where there are more."
    )
    return HuntSettings(audit.finding, "called" if chosen == "called" else "labelled", str(name), most=int(most))


def _start(audit: Audit, folder: ImageFolder, card: ModelCard, settings: HuntSettings, view: _View) -> None:
    cases = cases_for(audit.table, folder, card, settings)
    if view.asked:
        hunt_jobs().stop(view.asked, owner())
    key, desk, who = f"shortcuts-{hunt_key(cases, settings)}", services().desk, owner()
    view.asked, view.cases, view.settings = key, cases, settings
    view.found, view.covering = None, 0
    view.masked.clear()
    view.sheets.clear()
    hunt_jobs().start(key, lambda ctx: hunt(cases, settings, desk, who, ctx), who)


def _watch(key: str, doing: str, view: _View) -> None:
    """A fragment: how far the work is, and a button to stop it."""
    job = hunt_jobs().look(key)
    if job is None or not job.active:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="center")
    told = "waiting for other work" if job.partial is None else f"{job.partial.done} of {job.partial.total} cases"
    bar.progress(job.progress, f"{doing}: {told} ...")
    if stop.button("Stop", icon=":material/stop:", key="shortcuts-stop", width="stretch"):
        hunt_jobs().stop(key, owner())
        view.covering = 0
        if view.found is None:
            view.asked = ""
        st.rerun()


def _ended(job: Job[ShortcutHunt], view: _View) -> None:
    if job.state == "done" and job.result is not None:
        view.found = job.result
    elif job.state == "failed":
        st.error(job.message, icon=":material/error:")
    else:
        st.info("Stopped; Hunt goes on with the maps that are made.", icon=":material/stop_circle:")


def _result(audit: Audit, view: _View, found: ShortcutHunt, cases: Cohort, is_current: bool) -> None:
    if not is_current:
        st.info(
            f"The choices have changed since; these are the maps of {readable(found.settings.finding)} by "
            f"{EXPLAINERS.get(found.settings.method).spec.title}.",
            icon=":material/history:",
        )
    several = f"{len(found.clusters)} clusters" if len(found.clusters) > 1 else "one cluster: all maps are of one kind"
    people = f"{len(np.unique(found.patients)):,} {found.unit}"
    left_out = f"; {len(found.left_out)} cases have no map" if found.left_out else ""
    st.markdown(f"**{several}** · {len(found):,} cases of {people}{left_out}")
    left, right = st.columns([2, 3], gap="large")
    with left:
        _map_of_maps(audit, found)
    with right:
        cluster = _table(found, view.asked)
        _spectrum(found)
    _detail(audit, view, found, cases, cluster)


def _map_of_maps(audit: Audit, found: ShortcutHunt) -> None:
    def draw(dark: bool) -> Figure:
        return scatter(found.groups.positions, found.cluster_of, found.wrong, found.names, dark)

    numbers = pd.DataFrame({"case": found.names, "cluster": found.cluster_of + 1, "wrong": found.wrong})
    clicked = chart(draw, "shortcuts-scatter", "Cases by how alike their maps are, one mark a case", numbers)
    st.caption(
        "Maps that are alike lie near each other; open marks are wrong decisions. Click one for its cluster's cases."
    )
    if isinstance(clicked, int | float):
        _open(audit, found, found.clusters[int(clicked)])


def _table(found: ShortcutHunt, key: str) -> Cluster:
    """The clusters in order; the one chosen, else the first."""
    frame = pd.DataFrame(
        {
            "Cluster": [one.number for one in found.clusters],
            "Cases": [len(one) for one in found.clusters],
            found.unit.capitalize(): [one.patients for one in found.clusters],
            "Wrong": [_percent(one.error) for one in found.clusters],
            "Than the rest": [_percent(one.difference, signed=True) for one in found.clusters],
            "Apart": [one.separation for one in found.clusters],
            "Marks where no finding can be": [
                _LEVEL[one.beside.level]
                + ("" if one.beside.attribution is None else f" ({one.beside.attribution:.0%} of the map)")
                for one in found.clusters
            ],
        }
    )
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"shortcuts-table-{key}",
        column_config={
            "Wrong": st.column_config.TextColumn(help="Share of wrong decisions, with its 95 % interval."),
            "Than the rest": st.column_config.TextColumn(
                help="Share of wrong decisions less that of all other cases, in points, with its 95 % interval."
            ),
            "Apart": st.column_config.NumberColumn(
                format="%.2f",
                help="Mean silhouette, from -1 to 1: near 1, the maps are far more like each other than like those of the "
                "next cluster; near 0, they run into it.",
            ),
            "Marks where no finding can be": st.column_config.TextColumn(
                help=f"Markers, borders, hair, ruler, ink, the air outside the body. How strongly they are marked: {SOURCE}."
            ),
        },
    )
    st.caption("The first is the one to look at first: how far apart it is, how its errors differ, what it marks.")
    rows = event.selection.rows
    return found.clusters[rows[0] if rows and rows[0] < len(found.clusters) else 0]


def _spectrum(found: ShortcutHunt) -> None:
    with st.expander("Why so many clusters"):
        chart(
            lambda dark: eigenvalues(found.groups.eigenvalues, found.groups.count, dark),
            "shortcuts-eigenvalues",
            "Smallest eigenvalues of the graph of neighbours",
        )
        st.caption(
            f"Each map is joined to its {found.groups.neighbours} nearest. As many eigenvalues lie before the last wide gap "
            "(relative to the next, at least half of the widest) as there are clusters; clusters too small to lie apart are joined to the next."
        )


def _detail(audit: Audit, view: _View, found: ShortcutHunt, cases: Cohort, cluster: Cluster) -> None:
    with st.container(border=True):
        head, cases_place = st.columns([5, 1.4], vertical_alignment="center")
        head.markdown(f"**Cluster {cluster.number}** · {len(cluster)} cases of {cluster.patients} {found.unit}")
        if cases_place.button("Show its cases", key=f"shortcuts-open-{cluster.number}", width="stretch"):
            _open(audit, found, cluster)
        icon = _ICON.get(cluster.beside.level, ":material/info:")
        st.markdown(f"{icon} {cluster.beside.sentence}")
        parts = sorted(cluster.parts.items(), key=lambda part: -part[1][0])
        if parts:
            st.caption(
                "Of the map (of the picture): "
                + "; ".join(f"{name} {marked:.0%} ({area:.0%})" for name, (marked, area) in parts)
            )
        outlined = st.toggle("Outline the place that would be covered", True, key="shortcuts-outline")
        st.image(_sheet(view, found, cases, cluster, outlined))
        st.caption(
            f"Its {min(SHOWN, len(cluster))} most typical cases. Colour: strength of the map, from dark violet (weak) to pale "
            "yellow (the strongest place of that case); maps are shown as coarse as they are compared. Blue outline: the "
            "place that holds half of the cluster's mean map."
        )
        _cover(view, found, cases, cluster)


def _sheet(view: _View, found: ShortcutHunt, cases: Cohort, cluster: Cluster, outlined: bool) -> bytes:
    key = (cluster.number, outlined)
    if key not in view.sheets:
        own = found.signatures[cluster.members]
        typical = np.argsort(((np.sqrt(own) - np.sqrt(cluster.mean_map.ravel())) ** 2).sum(axis=1), kind="stable")
        number_of = {int(row): number for number, row in enumerate(cases.rows)}
        tiles = []
        for member in cluster.members[typical[:SHOWN]]:
            image = cases.image(number_of[int(found.rows[member])])
            tiles.append(Tile(image, picture(found.signatures[member]), "wrong" if found.wrong[member] else ""))
        view.sheets[key] = montage(tiles, region=region_of(cluster.mean_map) if outlined else None)
    return view.sheets[key]


def _cover(view: _View, found: ShortcutHunt, cases: Cohort, cluster: Cluster) -> None:
    """The button, the work, and what came of it."""
    key = f"{view.asked}-cover-{cluster.number}"
    desk, who = services().desk, owner()
    if cluster.number not in view.masked and st.button(
        "Mask this region and predict again", icon=":material/hide_source:", key=f"shortcuts-cover-{cluster.number}"
    ):
        view.covering = cluster.number
        hunt_jobs().start(key, lambda ctx: mask_and_predict(found, cluster, cases, desk, who, ctx), who)
    if view.covering == cluster.number:
        job = hunt_jobs().look(key)
        if job is not None and job.active:
            st.fragment(_watch, run_every=0.7)(key, "Covering the place", view)
            return
        view.covering = 0
        if job is not None and job.state == "done" and job.result is not None:
            view.masked[cluster.number] = job.result
            st.rerun()
        if job is not None and job.state == "failed":
            st.error(job.message, icon=":material/error:")
    if cluster.number in view.masked:
        _covered(view.masked[cluster.number], found)


def _covered(masked: Sequence[Masked], found: ShortcutHunt) -> None:
    """The sentence of the region, or of a hill that says more; then the numbers."""
    order: tuple[Finding, ...] = ("shortcut", "decides", "no more than elsewhere", "too few")
    worst = min(masked, key=lambda one: order.index(one.finding))  # the region where nothing says more
    part = "" if worst.place == REGION else f"{_capital(worst.place)}. "
    show = {"shortcut": st.error, "decides": st.warning}.get(worst.finding, st.info)
    icon = {"shortcut": ":material/error:", "decides": ":material/visibility:"}.get(worst.finding, ":material/info:")
    show(f"{part}{worst.sentence}", icon=icon)
    name, whole = readable(found.settings.finding), masked[0]
    st.dataframe(
        pd.DataFrame(
            {
                "Covered": [_capital(one.place) for one in masked],
                "Of the picture": [f"{one.area:.0%}" for one in masked],
                "Where no finding can be": [f"{one.beside:.0%}" for one in masked],
                "Score, logit": [one.score_change.rounded(2) for one in masked],
                "as much elsewhere": [one.score_elsewhere.rounded(2) for one in masked],
                f"Probability of {name}, points": [_percent(one.change, signed=True) for one in masked],
                "as much elsewhere ": [_percent(one.elsewhere, signed=True) for one in masked],
                f"No longer called, of {whole.called}": [_percent(one.turned) for one in masked],
                "as much elsewhere  ": [_percent(one.turned_elsewhere) for one in masked],
            }
        ),
        hide_index=True,
    )
    st.caption(
        f"Mean changes over n = {whole.n} cases, 95 % intervals over {found.unit}; mean probability before "
        f"{_percent(whole.before)}. Covered by the mean colour; elsewhere: mean of {len(whole.controls)} other places as large. "
        "What the maps of the nearest cluster leave out is covered by itself too, and each hill where the mean map has several."
    )


def _open(audit: Audit, found: ShortcutHunt, cluster: Cluster) -> None:
    order = np.argsort(~found.wrong[cluster.members], kind="stable")  # wrong ones first
    title = f"{readable(found.settings.finding)}: cluster {cluster.number} of the maps"
    open_cases(audit, found.rows[cluster.members][order], title, audit.table.column(found.settings.finding))


def _percent(one: Estimate, signed: bool = False) -> str:
    """ "41 % (30 to 52)", or why there is none."""
    if one.value is None:
        return one.note
    form = "+d" if signed else "d"
    ends = "" if one.low is None or one.high is None else f" ({_whole(one.low):{form}} to {_whole(one.high):{form}})"
    return f"{_whole(one.value):{form}}{'' if signed else ' %'}{ends}"


def _whole(share: float) -> int:
    return round(100 * share)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
