"""Whether to believe a map: the line under it, and the evidence that it opens."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard.figures.trust import evidence
from dashboard.jobs.desk import Answer
from dashboard.serving.types import ExplainRequest
from dashboard.settings import settings
from dashboard.state import CaseView, Services, owner
from dashboard.trust.judge import Judged, Maps
from dashboard.widgets.maps import duration
from dashboard.widgets.viewer.packing import MapLayer
from dashboard.widgets.viewer.viewer import Pane, Standing, Trust, viewer
from explainers import get
from explainers.quality.randomisation import doubts
from explainers.quality.strip import counted, spec_of, summary
from explainers.quality.types import Level, Verdict
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case

QUICK_S = 90.0  # checks that take no longer are begun without being asked for
_BADGES: dict[Level, str] = {
    "ok": ":green-badge[:material/check: ok]",
    "weak": ":orange-badge[:material/warning: weak]",
    "fails": ":red-badge[:material/close: fails]",
    "not assessable": ":gray-badge[:material/help: not assessable]",
}
_STANDING: dict[Level, Standing] = {"ok": "ok", "weak": "weak", "fails": "fails", "not assessable": "unknown"}


def judging(
    case: Case, index: int, card: ModelCard | None, requests: Mapping[str, ExplainRequest], known: Mapping[str, Answer],
    view: CaseView, found: Services,
) -> Judged | None:  # fmt: skip
    """How far the checks of the maps shown are; begun once all maps are there. None where there is nothing to check.

    Lets go of the checks of other maps.
    """
    ready = {name: (requests[name], one.explanation) for name, one in known.items() if one.explanation is not None}
    waiting = any(answer.active for answer in known.values())
    maps = Maps(case, index, card, ready) if card is not None and ready and not waiting else None
    try:
        key = found.judge.key(maps) if maps else ""
        found.desk.keep_only({key}, {view.judging} - {""}, owner())
        view.judging = key
        if maps is None:
            return None
        expected = found.judge.expected_s(maps)
        wanted = key in view.checked or (settings().trust == "auto" and expected <= QUICK_S)
        looked = found.judge.ask(maps, owner()) if wanted else found.judge.look(maps)
        return looked or Judged(key, "cancelled", expected_s=expected)
    except SightlineError as error:
        return Judged("", "failed", message=str(error))


def line(judged: Judged | None, name: str, opened: bool) -> Trust | None:
    """What stands under a map."""
    if judged is None:
        return None
    verdicts = judged.verdicts.get(name, ())
    if judged.state == "failed":
        return Trust("unknown", "Trust: the checks failed", judged.message, opened)
    if judged.state == "cancelled":
        return Trust("unknown", f"Trust: not checked · check now, about {duration(judged.expected_s)}", open=opened)
    if not verdicts:
        return Trust("checking", "Trust: waiting to be checked", open=opened)
    found = summary(verdicts)
    going = f" · checking, {judged.progress:.0%}" if judged.active else ""
    parts = [part for part in found.sentence.split(" · ") if part.startswith(("fails:", "weak:"))]
    rest = "; ".join(parts) if parts else found.sentence
    return Trust(_STANDING[found.level], f"Trust: {found.level} · {counted(verdicts)}{going}", rest, opened)


def opened(view: CaseView, name: str, judged: Judged | None, found: Services) -> None:
    """The line under a map was pressed: show its evidence or put it away, and begin checks that wait to be asked for."""
    view.evidence = "" if view.evidence == name else name
    if judged is not None and judged.state in ("cancelled", "failed"):
        view.evidence = name
        found.desk.retry(judged.key)
        view.checked.add(judged.key)


@st.cache_data(max_entries=16, show_spinner=False)
def _doubts(folder: str, weights: str, _card: ModelCard) -> dict[str, tuple[str, str]]:
    """By method: the layer measured, and why its maps are no evidence."""
    return doubts(_card)


def doubt(card: ModelCard | None, answer: Answer) -> str:
    """Why a map of this method is no evidence with this model; "" where nothing says so."""
    if card is None or answer.explanation is None:
        return ""
    made = answer.explanation.attribution
    layer, why = _doubts(str(card.folder), card.weights.sha256, card).get(made.method, ("", ""))
    return f"No evidence: {why}." if why and layer == str(made.params.get("layer", "")) else ""


def evidence_panel(judged: Judged | None, name: str, case: Case, index: int, explained: Mapping[str, Answer]) -> bool:
    """All checks of one map, with figures; True when the reader closes it."""
    with st.container(border=True, key="trust-evidence"):
        title = get(name).spec.title
        head, close = st.columns([8, 1], vertical_alignment="center")
        closed = close.button("Close", icon=":material/close:", type="tertiary", key="trust-close")
        verdicts = judged.verdicts.get(name, ()) if judged else ()
        if judged is None or not verdicts:
            head.markdown(f"**May this map be believed?** {title}")
            st.caption(judged.message if judged and judged.message else "The checks are on their way.")
            return closed
        found = summary(verdicts)
        head.markdown(f"**May this map be believed?** {title}: {_BADGES[found.level]} {counted(verdicts)}")
        if judged.active:
            st.progress(judged.progress, f"Checking, about {duration((1 - judged.progress) * judged.expected_s)} left")
        for verdict in verdicts:
            _row(verdict)
        drawn = {one.check: spec_of(one).title for one in verdicts if one.curves or one.maps or one.facts}
        if drawn:
            chosen = st.segmented_control(
                "Behind the number", list(drawn), default=next(iter(drawn)), format_func=drawn.__getitem__, key=f"trust-behind-{name}",
            )  # fmt: skip
            picked = next((one for one in verdicts if one.check == chosen), None)
            if picked is not None:
                _behind(picked, case, index, explained.get(name))
        st.caption(
            "A check that is passed does not prove a map right; one that fails is a reason not to rest a decision on it."
        )
        return closed


def _row(verdict: Verdict) -> None:
    spec = spec_of(verdict)
    level, name, words = st.columns([1.5, 2.6, 7], gap="small")
    level.markdown(_BADGES[verdict.level])
    coarse = "" if verdict.final else " · coarse so far"
    name.markdown(f"**{spec.title}**  \n:small[{number(verdict)}{coarse}]", help=f"{spec.question} {spec.paper}.")
    words.markdown(f"{verdict.sentence}", help=f"Expected: {verdict.expected}" if verdict.expected else None)


def number(verdict: Verdict) -> str:
    """ "mean rank correlation 0.93 (0.90 to 0.95, n = 8)"; "" without one."""
    if verdict.value is None:
        return ""
    spec = spec_of(verdict)
    unit = f" {spec.unit}" if spec.unit else ""
    said = f"{spec.measure} {verdict.value:.2f}{unit}"
    if verdict.low is None or verdict.high is None:
        return said
    return f"{said} ({verdict.low:.2f} to {verdict.high:.2f}, n = {verdict.n})"


def _behind(verdict: Verdict, case: Case, index: int, answer: Answer | None) -> None:
    figure = evidence(verdict, st.context.theme.type == "dark")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if figure is not None:
            st.plotly_chart(figure, theme=None, key=f"trust-figure-{verdict.check}", config={"displayModeBar": False})
        if verdict.maps and answer is not None and answer.explanation is not None:
            grid = answer.explanation.grid_to_image
            panes = [
                Pane(name, name.capitalize(), map=MapLayer(values, grid, False, "rank, 0 to 1"))
                for name, values in verdict.maps.items()
            ]
            viewer(case.image.slice(index), panes, key="trust-maps", height=260)
    with right:
        rows = (
            {"Measured": verdict.facts, "": {"Expected": verdict.expected}}
            if verdict.expected
            else {"Measured": verdict.facts}
        )
        lines = [f"- {name}: {value}" for group in rows.values() for name, value in group.items()]
        st.markdown("\n".join(lines))
