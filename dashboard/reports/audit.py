"""An audit as files: ``metrics.json``, tables as CSV, and a report of one page that needs no network."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape

from dashboard.audit import calibration
from dashboard.audit.bootstrap import REPLICATES, draws
from dashboard.audit.comparison import compare, match
from dashboard.audit.confusion import matrix, two_by_two
from dashboard.audit.discrimination import AVERAGES, TITLES, Discrimination
from dashboard.audit.failures import confident_errors
from dashboard.audit.intervals import FEW, NO_ECE_INTERVAL
from dashboard.audit.metrics import AuditMetrics, collect
from dashboard.audit.subgroups import TITLES as GROUP_TITLES
from dashboard.audit.subgroups import Subgroups
from dashboard.audit.table import CASE, AuditTable
from dashboard.cases import RESEARCH_NOTE, readable
from dashboard.figures.confusion import confusion
from dashboard.figures.intervals import Row, forest
from dashboard.figures.page import script
from dashboard.figures.style import Figure
from dashboard.reports.checklist import checklist
from dashboard.reports.comparison import comparison_section, comparison_table
from dashboard.reports.curves import calibration_section, operating_sections, prevalence_section
from dashboard.reports.explanations import explanation_sections
from dashboard.reports.pairs import pair_sections
from dashboard.reports.section import Section, drawn
from models.card import ModelCard

LISTED = 20  # failures in the report
Progress = Callable[[float], None]
_TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]))


def audit_files(
    table: AuditTable,
    card: ModelCard | None = None,
    groups: Sequence[str] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Progress = lambda share: None,
    other: AuditTable | None = None,
) -> tuple[AuditMetrics, dict[str, bytes]]:
    """The record and every file by name.

    Args:
        card: of the model that gave the scores, where it is known.
        groups: attributes to report by. Raises DataError for one that the table does not have.
        progress: told the share done, 0 to 1.
        other: a second table of the same cases to compare with. Raises DataError where nothing is shared.
    """
    both = None if other is None else match(table, other)
    record, found, parted = collect(table, groups, replicates, seed, progress)
    classes = class_table(found)
    tables = {
        "classes.csv": classes,
        "calibration.csv": _reliability(table),
        "failures.csv": _failures(table),
    }
    if parted:
        tables["subgroups.csv"] = _groups(table, parted)
    files = {name: part.to_csv(index=False).encode() for name, part in tables.items()}
    files["metrics.json"] = record.model_dump_json(indent=1).encode()
    sections = _sections(table, record, found, parted)
    if both is not None:
        compared = compare(both, replicates, seed)
        files["comparison.csv"] = comparison_table(compared).to_csv(index=False).encode()
        sections.append(comparison_section(both, compared, replicates))
    sections += explanation_sections(card)
    sections += [_methods(record), _items(table, card, found, list(parted))]
    files["report.html"] = _page(table, card, record, sections).encode()
    return record, files


def audit_zip(files: dict[str, bytes]) -> bytes:
    """All files in one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def class_table(found: Discrimination) -> pd.DataFrame:
    """One row a class and figure: value, ends of the interval, n, and of ECE what chance alone would give."""
    return pd.DataFrame(
        [
            {
                "class": one.name,
                "figure": name,
                "value": e.value,
                "low": e.low,
                "high": e.high,
                "n": e.n,
                "chance": e.chance,
                "note": e.note,
            }
            for one in found.classes
            for name, e in one.figures.items()
        ]
    )


def _groups(table: AuditTable, parted: dict[str, tuple[Subgroups, ...]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "attribute": attribute, "group": group.label, "class": name, "figure": figure, "value": value.value,
                "low": value.low, "high": value.high, "n": value.n, "note": value.note,
                "gap": gap.estimate.value, "gap_low": gap.estimate.low, "gap_high": gap.estimate.high,
                "gap_p": gap.p, "gap_p_holm": gap.adjusted,
            }
            for attribute, parts in parted.items()
            for name, part in zip((*table.classes, "all classes"), parts, strict=True)
            for group in part.groups
            for figure, value in group.values.items()
            for gap in [group.gaps[figure]]
        ]
    )  # fmt: skip


def _reliability(table: AuditTable) -> pd.DataFrame:
    rows = []
    for k, name in enumerate(table.classes):
        bins = calibration.bins(calibration.outcomes(table, k))
        for place in range(len(bins.n)):
            rows.append(
                {
                    "class": name, "from": bins.edges[place], "to": bins.edges[place + 1], "n": bins.n[place],
                    "mean_score": bins.confidence[place], "observed": bins.observed[place],
                    "low": bins.low[place], "high": bins.high[place],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _failures(table: AuditTable) -> pd.DataFrame:
    ranked = confident_errors(table)
    return pd.DataFrame(
        {
            "case_id": table.cases[CASE].to_numpy()[ranked.rows],
            "class": [table.classes[k] for k in ranked.columns],
            "label": [float(table.labels[row, k]) for row, k in zip(ranked.rows, ranked.columns, strict=True)],
            "score": [float(table.scores[row, k]) for row, k in zip(ranked.rows, ranked.columns, strict=True)],
            "confidence": ranked.numbers,
        }
    )


def _sections(
    table: AuditTable, record: AuditMetrics, found: Discrimination, parted: dict[str, tuple[Subgroups, ...]]
) -> list[Section]:
    return [
        _performance(found),
        prevalence_section(table),
        calibration_section(table),
        *operating_sections(table, draws(table.groups, record.replicates, record.seed)),
        _confusions(table),
        *pair_sections(table),
        *(_subgroup_section(name, parts, table) for name, parts in parted.items()),
        _failure_section(table),
    ]


def _page(table: AuditTable, card: ModelCard | None, record: AuditMetrics, sections: Sequence[Section]) -> str:
    facts = [
        ("Model", f"{card.title}, {card.id} version {card.version}" if card is not None else "not named"),
        ("Parts", ", ".join(record.splits) or "not named in the table"),
        ("Cases", f"{len(table):,}"),
        ("Patients", f"{table.patients:,}" if table.has_patients else "not named in the table"),
        ("Classes", ", ".join(readable(name) for name in table.classes)),
        ("Weakest class", readable(record.worst_class) if record.worst_class else "not named: one class, or too few cases"),
        ("Weakest subgroup", _weakest(record)),
        ("Table (SHA-256)", record.table_sha256),
        ("Software", ", ".join(f"{name} {number}" for name, number in record.versions.items())),
    ]  # fmt: skip
    return _TEMPLATES.get_template("audit.html.j2").render(
        record=record, facts=facts, sections=sections, script=script(), note=RESEARCH_NOTE
    )


def _weakest(record: AuditMetrics) -> str:
    found = record.weakest
    if found is None or found.auroc_gap is None:
        return "not estimated: no column to group by, or too few cases in every group"
    ends = f" ({found.auroc_gap_ci[0]:+.3f} to {found.auroc_gap_ci[1]:+.3f})" if found.auroc_gap_ci else ""
    groups = "1 group" if found.groups == 1 else f"{found.groups} groups"
    return (
        f"{readable(found.attribute)} {found.group}: AUROC {found.auroc_gap:+.3f}{ends} against all other cases, the "
        f"lowest of {groups} that could be compared"
    )


def _performance(found: Discrimination) -> Section:
    rows = [
        {"Class": readable(one.name), "Positive": f"{one.positives:,} of {one.n:,}"}
        | {title: one.figures[name].text for name, title in TITLES.items()}
        for one in found.classes
    ]
    if len(found.classes) > 1:
        rows += [
            {"Class": f"{kind.capitalize()} average", "Positive": ""}
            | {title: found.averages[kind][name].text for name, title in TITLES.items()}
            for kind in AVERAGES
        ]
    figures = tuple(
        drawn(_forest(found, name, chance)) for name, chance in (("auroc", 0.5), ("auprc", None), ("ece", None))
    )
    meaning = "; ".join(f"{kind}: {words}" for kind, words in AVERAGES.items())
    return Section("Performance of each class", (f"Averages. {meaning}.",), figures, (pd.DataFrame(rows),))


def _forest(found: Discrimination, name: str, chance: float | None) -> Figure:
    rows = [Row(readable(one.name), e.value, e.low, e.high, e.n) for one in found.classes for e in [one.figures[name]]]
    return forest(rows, TITLES[name], chance)


def _confusions(table: AuditTable) -> Section:
    if table.exclusive:
        figure = confusion([readable(name) for name in table.classes], matrix(table).tolist())
        return Section("Confusion", ("Rows are the true classes, columns those decided for.",), (drawn(figure),))
    rows = [
        {
            "Class": readable(name), "Threshold": f"{threshold:.3f}", "Found": cells[0, 0], "Missed": cells[0, 1],
            "False alarms": cells[1, 0], "Rightly left": cells[1, 1],
        }
        for name, threshold, cells in zip(table.classes, table.thresholds, two_by_two(table), strict=True)
    ]  # fmt: skip
    return Section("Decisions at the operating points", tables=(pd.DataFrame(rows),))


def _subgroup_section(name: str, parts: tuple[Subgroups, ...], table: AuditTable) -> Section:
    part = parts[-1]
    alone = len(table.classes) == 1  # over several classes these two have no meaning as a mean
    titles = {f: t for f, t in GROUP_TITLES.items() if alone or f not in ("prevalence", "miscalibration")}
    rows = [
        {"Group": group.label, "Cases": f"{group.n:,}", "Patients": f"{group.patients:,}"}
        | {title: group.values[figure].text for figure, title in titles.items()}
        | {"AUROC less that of the rest": group.gaps["auroc"].estimate.text}
        for group in part.groups
    ]
    values = [Row(g.label, e.value, e.low, e.high, e.n) for g in part.groups for e in [g.values["auroc"]]]
    figure = forest(values, "AUROC" if len(table.classes) == 1 else "AUROC, mean of the classes", 0.5)
    tests = part.comparisons("auroc")
    text = (
        f"{tests} {'comparison' if tests == 1 else 'comparisons'} for each figure; with intervals of 95 % about one in "
        "twenty excludes 0 by chance alone. subgroups.csv holds every class, with p adjusted after Holm."
    )
    return Section(f"Subgroups: {readable(name)}", (text,), (drawn(figure),), (pd.DataFrame(rows),))


def _failure_section(table: AuditTable) -> Section:
    listed = _failures(table).head(LISTED)
    shown = listed.assign(
        **{
            "class": listed["class"].map(readable),
            "label": listed.label.map({1.0: "present", 0.0: "absent"}),
            "score": listed.score.map("{:.3f}".format),
            "confidence": listed.confidence.map("{:.3f}".format),
        }
    )
    return Section(
        "Most confident errors",
        (f"The first {len(listed)}; failures.csv holds the first thousand.",),
        tables=(shown.rename(columns=lambda name: readable(name).capitalize()),),
    )


def _methods(record: AuditMetrics) -> Section:
    return Section(
        "Methods",
        (
            f"Intervals are 2.5 and 97.5 percentiles of {record.replicates:,} bootstrap replicates that draw whole "
            f"{record.resampled} with replacement, seed {record.seed}; DeLong's interval of each AUROC, which takes "
            f"cases as independent, stands in metrics.json. A figure that rests on fewer than {FEW} "
            f"{record.resampled} is not given.",
            "AUPRC is the sum of precision over recall steps. Pairs of case and class with an unknown label are left out. "
            f"Calibration error (ECE): 15 bins of equal width. {NO_ECE_INTERVAL}",
            "Groups are compared with all other cases, not with the whole. No correction of intervals for multiplicity.",
        ),
    )


def _items(table: AuditTable, card: ModelCard | None, found: Discrimination, groups: Sequence[str]) -> Section:
    items = checklist(table, card, found, groups)
    frame = pd.DataFrame([(one.guideline, one.number, one.topic, one.answer) for one in items])
    frame.columns = pd.Index(["Guideline", "Item", "Topic", "What this audit says"])
    return Section("Reporting guidelines", tables=(frame,))
