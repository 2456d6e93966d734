"""The audit's section on explanations: which checks were run, on how many cases, and what came of them."""

from __future__ import annotations

import pandas as pd

from dashboard.cases import readable
from dashboard.hunting.drift_result import stored_drift
from dashboard.hunting.evidence import stored as stored_evidence
from dashboard.hunting.evidence_tables import best_words, check_table, number_table, place_table
from dashboard.hunting.robustness_result import losses, stored_robustness
from dashboard.reports.section import Section
from explainers.quality.method_benchmark import stored_methods
from explainers.quality.randomisation import stored as stored_randomisation
from explainers.registry import EXPLAINERS
from models.card import ModelCard


def explanation_sections(card: ModelCard | None) -> list[Section]:
    """What is stored with the model; where nothing is, one section that says so."""
    if card is None:
        return [Section("Explanations", ("The scores name no model, so its explanations were not checked.",))]
    found = [part for make in (_checks, _random_weights, _places, _robust, _groups) for part in make(card)]
    return found or [
        Section(
            "Explanations", ("No check of this model's explanations has been run; see `hunt` on the command line.",)
        )
    ]


def _checks(card: ModelCard) -> list[Section]:
    found = stored_evidence(card)
    if found is None:
        return []
    text = (
        f"{found.cases} cases ({found.source}) of {found.patients} patients or groups, each explained for its leading class. "
        "A cell holds the maps at ok of those that could be assessed; a check that is passed does not prove a map right."
    )
    return [Section("Explanations: trust checks", (text,), tables=(check_table(found), number_table(found)))]


def _random_weights(card: ModelCard) -> list[Section]:
    found = stored_randomisation(card)
    if not found:
        return []
    rows = [
        {
            "Method": EXPLAINERS.get(name).spec.title if name in EXPLAINERS else name,
            "Verdict": one.level,
            "Likeness with all weights random": one.cascade[-1].ssim["absolute"].words,
            "Likeness of maps of two images": one.pairs["absolute"].words,
            "Margin": one.margin.words,
        }
        for name, one in found.items()
    ]
    text = (
        "Structural similarity of maps with the network's weights drawn anew; passed below that of maps of two images."
    )
    return [Section("Explanations: random weights", (text,), tables=(pd.DataFrame(rows),))]


def _places(card: ModelCard) -> list[Section]:
    randomised = stored_randomisation(card)
    return [
        Section(
            f"Explanations: {one.name}",
            (
                best_words(one, randomised).replace("**", ""),
                f"{one.note} {one.cases} images, {one.called} of them called.",
            ),
            tables=(place_table(one, "everything", randomised),),
        )
        for one in stored_methods(card).values()
    ]


def _robust(card: ModelCard) -> list[Section]:
    found = stored_robustness(card)
    if found is None:
        return []
    text = (
        f"{found.cases} {found.part} of {found.patients} {found.unit}, pictures made worse in four steps. Listed is each class and "
        "change from the mildest strength on at which the 95 % interval of the change lies below 0; they are judged one by one, "
        "and of many, some will by chance."
    )
    lost = [readable(one.words) for one in losses(found)] or ["None with so many cases."]
    title = "Sensitivity or specificity lost beyond its interval"
    return [Section("Explanations: robustness", (text,), tables=(pd.DataFrame({title: lost}),))]


def _groups(card: ModelCard) -> list[Section]:
    found = stored_drift(card)
    if found is None:
        return []
    text = f"{found.method} maps of {found.cases} {found.part}; permutation tests, p corrected for all of them (Holm)."
    rows = [
        {
            "Finding": readable(one.finding),
            "Group": f"{readable(one.attribute)} {one.group}",
            "n": f"{one.n} against {one.others}",
            "Of the map elsewhere": f"{one.distance:.0%}",
            "By chance": f"{one.chance:.0%}",
            "p": f"{one.p:.2g}",
            "Corrected p": f"{one.adjusted:.2g}",
        }
        for one in found.comparisons
    ]
    left = f"{len(found.not_compared)} groups could not be compared: too few cases." if found.not_compared else ""
    tables = (pd.DataFrame(rows),) if rows else ()
    return [Section("Explanations: maps by group", tuple(filter(None, (text, left))), tables=tables)]
