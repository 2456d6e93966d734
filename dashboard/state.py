"""What lasts between runs of a page: process-wide services, and a typed view of the session."""

from __future__ import annotations

import atexit
import secrets
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import streamlit as st

from dashboard.folder_runs.desk import BatchDesk
from dashboard.jobs.desk import Desk
from dashboard.jobs.kept import KeptJobs
from dashboard.jobs.store import ResultStore
from dashboard.library import Library, Summary
from dashboard.quantify.visits import Quantities
from dashboard.serving.factory import make_engine
from dashboard.settings import settings
from dashboard.trust.judge import Judge
from dashboard.trust.store import VerdictStore
from dashboard.volumes.desk import VolumeDesk
from dashboard.whatif.flip import Flip
from dashboard.whatif.types import Edit, Mask
from explainers.types import ParamValue
from models.types import Case

T = TypeVar("T")
CASE_PAGE = "case-page"  # under which app.py keeps the page
MOST_UNDONE = 20
KEPT_WHATIFS = 8
DEFAULT_METHODS = ("grad-cam", "integrated-gradients", "occlusion")


@dataclass(frozen=True)
class Services:
    """One of each for the whole process."""

    desk: Desk
    library: Library
    judge: Judge


@st.cache_resource(show_spinner="Starting Sightline ...")
def services() -> Services:
    config = settings()
    desk = Desk(make_engine(config), ResultStore(config.cache / "results", config.cache_mb))
    library = Library(desk)
    # Threads inside torch must have come to an end before the interpreter does.
    atexit.register(desk.close)
    atexit.register(library.close)
    verdicts = VerdictStore(config.cache / "verdicts", config.verdicts_mb)
    return Services(desk, library, Judge(desk, verdicts))


@st.cache_resource(show_spinner=False)
def volume_desk() -> VolumeDesk:
    """Work on whole volumes, one for the process."""
    made = VolumeDesk(services().desk)
    atexit.register(made.close)  # before the desk that it asks
    return made


@st.cache_resource(show_spinner=False)
def quantify_jobs() -> KeptJobs[Quantities]:
    """Measuring of scans, one at a time for the process."""
    made: KeptJobs[Quantities] = KeptJobs()
    atexit.register(made.close)
    return made


@st.cache_resource(show_spinner=False)
def hunt_jobs() -> KeptJobs[Any]:
    """Hunts for failures over many cases, one at a time for the process."""
    made: KeptJobs[Any] = KeptJobs(background=True)
    atexit.register(made.close)  # before the desk that they ask
    return made


@st.cache_resource(show_spinner=False)
def flip_jobs() -> KeptJobs[Flip]:
    """Searches for the smallest region that turns a call, which need not wait for a hunt over many cases."""
    made: KeptJobs[Flip] = KeptJobs(at_once=8, kept=64)
    atexit.register(made.close)  # before the desk that they ask
    return made


@st.cache_resource(show_spinner=False)
def batch_desk() -> BatchDesk:
    """The batch run of the server."""
    made = BatchDesk(settings().cache / "batch.json", settings().batch)
    atexit.register(made.close)
    return made


@dataclass
class Uploads:
    """Images of this session; they live in memory only.

    Attributes:
        seen: ids of uploaded files already read.
        failures: sentences to show, by file name.
    """

    cases: dict[str, Case] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, Summary] = field(default_factory=dict)


@dataclass
class CaseView:
    """What the reader has chosen on the Case page.

    Attributes:
        model_id: "" until a case has been opened with a model that reads it.
        preferred_model: the model shown last; kept for uploads that it reads too.
        chosen_models: the model the reader chose, by the one that such cases are meant for.
        finding: class index; None for the leading one.
        slices: slice shown, by case.
        against: class index of a contrast; None explains the finding alone.
        params: method id to the settings the reader changed.
        stopped: keys of explanations the reader stopped.
        held: keys of the jobs this page has asked for.
        evidence: the method whose evidence is shown; "" for none.
        judging: key of the checks under way; ``checked`` holds those that the reader asked for.
    """

    case_id: str = ""
    model_id: str = ""
    preferred_model: str = ""
    chosen_models: dict[str, str] = field(default_factory=dict)
    finding: int | None = None
    slices: dict[str, int] = field(default_factory=dict)
    methods: tuple[str, ...] = DEFAULT_METHODS
    against: int | None = None
    params: dict[str, dict[str, ParamValue]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    evidence: str = ""
    judging: str = ""
    checked: set[str] = field(default_factory=set)

    def open(self, case_id: str) -> None:
        """Turn to another case: finding and model are chosen anew, methods and settings stay."""
        if case_id != self.case_id:
            self.case_id, self.finding, self.against = case_id, None, None
            self.preferred_model, self.model_id = self.model_id or self.preferred_model, ""

    def choose_model(self, model_id: str, made_for: str) -> None:
        """Another model has other classes and layers: only what does not depend on them stays."""
        self.model_id = self.preferred_model = self.chosen_models[made_for] = model_id
        self.finding = self.against = None
        for chosen in self.params.values():
            chosen.pop("layer", None)


@dataclass
class AuditView:
    """What the reader has chosen on the Audit page.

    Attributes:
        source: name of the table; ``source_seen`` is the one shown in the last run.
        split: "" until chosen.
        focus: name of the class in focus.
        rows: cases listed under the tabs, numbers of rows of the table; ``title`` says what they share.
        finding: class index to set when one of them is opened.
        page: of the list, from 0.
        answered: the mark last clicked in each figure.
    """

    source: str = ""
    source_seen: str = ""
    split: str = ""
    focus: str = ""
    rows: tuple[int, ...] = ()
    title: str = ""
    finding: int = 0
    page: int = 0
    answered: dict[str, Hashable] = field(default_factory=dict)


@dataclass
class CompareView:
    """What the Compare page holds: the keys of the jobs it has asked for, and those the reader stopped."""

    stopped: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)


@dataclass
class VolumeView:
    """What the reader has chosen on the Volume page, beside the case, model and finding of the Case page.

    Attributes:
        kind, method: as of a volume request.
        params: method id to the settings the reader changed.
        at: where the crosshair is, (column, row, slice), by case.
        asked: key of the work this page waits for, "" for none; ``asked_at`` is the slice it was asked for.
    """

    kind: Literal["slices", "around", "blocks"] = "slices"
    method: str = "grad-cam"
    params: dict[str, dict[str, ParamValue]] = field(default_factory=dict)
    at: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    asked: str = ""
    asked_at: int = 0


@dataclass
class PreparationView:
    """What the reader has chosen on the Preparation page, beside the case, model and slice of the Case page.

    Attributes:
        presets: id of the list of steps, by case.
        on: whether a step is run, by preset and step.
        params: step id to the settings the reader changed.
        reference: case that the registration moves to; "" for none.
        asked: key of the work this page shows or waits for, by case.
        method: explanation compared before and after; "" for none.
        held, stopped: keys of explanations, as of the Case page.
    """

    presets: dict[str, str] = field(default_factory=dict)
    on: dict[tuple[str, str], bool] = field(default_factory=dict)
    params: dict[str, dict[str, ParamValue]] = field(default_factory=dict)
    reference: str = ""
    asked: dict[str, str] = field(default_factory=dict)
    method: str = ""
    held: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)


@dataclass
class QuantifyView:
    """What the reader has chosen on the Quantify page, beside the case of the Case page.

    Attributes:
        lesions: where they come from, by case: a model, an uploaded mask (their ids), or "" for the case's own mask.
        prior: id of the case to compare with, by case; "" for none.
        connectivity, minimum_mm3: how lesions are counted; None for the usual minimum.
        place: where the crosshair goes, (column, row, slice) of the upright scan, by case.
        asked: key of the work this page shows or waits for, by case.
    """

    lesions: dict[str, str] = field(default_factory=dict)
    prior: dict[str, str] = field(default_factory=dict)
    connectivity: int = 26
    minimum_mm3: float | None = None
    place: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)


@dataclass
class WhatIf:
    """What the reader has changed on the picture of one case.

    Attributes:
        edits: those kept, in order; ``past`` are the lists before, for undoing.
        drawn: (H, W), the region on the drawing; ``region`` says what is done with it, ``params`` with which settings.
        version: raised when the region is changed otherwise than by drawing; ``round`` when the list is, otherwise than by
            its controls; ``added`` counts all edits ever kept.
        flip: key of the search for the smallest region that turns the call, "" for none.
        explain: whether the edited picture's maps are shown.
        held, stopped: keys of explanations, as of the Case page.
    """

    edits: tuple[Edit, ...] = ()
    past: list[tuple[Edit, ...]] = field(default_factory=list)
    drawn: Mask | None = None
    version: int = 0
    round: int = 0
    added: int = 0
    region: str = "cover"
    params: dict[str, dict[str, ParamValue]] = field(default_factory=dict)
    flip: str = ""
    explain: bool = False
    held: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)

    def change(self, edits: tuple[Edit, ...]) -> None:
        """Another list of edits; the one before can be had again."""
        self.past = [*self.past[-(MOST_UNDONE - 1) :], self.edits]
        self.edits = edits

    def add(self, edit: Edit) -> None:
        self.added += 1
        self.change((*self.edits, replace(edit, number=self.added)))

    def remove(self, number: int) -> None:
        self.change(tuple(edit for edit in self.edits if edit.number != number))

    def undo(self) -> None:
        if self.past:
            self.edits, self.round = self.past.pop(), self.round + 1

    def draw(self, mask: Mask | None) -> None:
        """Put another region on the drawing."""
        if mask is not None:
            mask.setflags(write=False)
        self.drawn, self.version = mask, self.version + 1


@dataclass
class WhatIfViews:
    """By case; the last few that were opened."""

    cases: dict[str, WhatIf] = field(default_factory=dict)

    def of(self, case_id: str) -> WhatIf:
        found = self.cases.pop(case_id, None) or WhatIf()
        self.cases[case_id] = found
        while len(self.cases) > KEPT_WHATIFS:
            del self.cases[next(iter(self.cases))]
        return found


def _session(key: str, kind: type[T]) -> T:
    """The session's object of that kind, made when first asked for."""
    if key not in st.session_state:
        st.session_state[key] = kind()
    found: T = st.session_state[key]
    return found


def uploads() -> Uploads:
    return _session("uploads", Uploads)


def case_view() -> CaseView:
    return _session("case_view", CaseView)


def compare_view() -> CompareView:
    return _session("compare_view", CompareView)


def audit_view() -> AuditView:
    return _session("audit_view", AuditView)


def volume_view() -> VolumeView:
    return _session("volume_view", VolumeView)


def preparation_view() -> PreparationView:
    return _session("preparation_view", PreparationView)


def quantify_view() -> QuantifyView:
    return _session("quantify_view", QuantifyView)


def whatif_view(case_id: str) -> WhatIf:
    return _session("whatif_views", WhatIfViews).of(case_id)


def to_case_page() -> None:
    """Leave the page at hand for the Case page, which shows what :func:`case_view` says."""
    st.query_params.clear()  # else the address of the page left would count
    st.switch_page(st.session_state[CASE_PAGE])


def owner() -> str:
    """A random name of this session, under which it holds jobs."""
    if "owner" not in st.session_state:
        st.session_state["owner"] = secrets.token_hex(8)
    return str(st.session_state["owner"])
