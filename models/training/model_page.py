"""The readable page of a model, from its card and ``metrics.json``, and the list of all models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.card import Measure, ModelCard, PerClass
from models.preprocessing_words import preprocessing
from models.training.evaluate import AS_PUBLISHED, read_metrics
from models.training.goals import GOALS, measured

DISCLAIMER = "For research and teaching. It supports a reader's judgement and never replaces it."
PER_CLASS = ("AUROC", "AUPRC", "sensitivity", "specificity", "PPV", "NPV")


def write_page(card: ModelCard, out: Path) -> Path:
    """Write ``<id>.md`` into ``out`` and return its path. Raises DataError for a card without an evaluation."""
    metrics = read_metrics(card)
    sections = (
        _head(card),
        _use(card),
        _data(card, metrics),
        _bullets("Preprocessing", preprocessing(card.input)),
        _training(card),
        _performance(card, metrics),
        _calibration(card, metrics),
        _robustness(card),
        _unusual(card),
        _bullets("Known limits", card.limits),
        _bullets("Known failures", card.failures),
        _published(card),
        _reproduce(card, metrics),
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{card.id}.md"
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")
    return path


def write_index(cards: Iterable[ModelCard], out: Path) -> Path:
    """Write ``README.md``, what every system was to reach and what it reached, and return its path."""
    lines, tried = [], []
    for card in cards:
        for goal in GOALS.get(card.id, ()):
            found = measured(card, goal.metric, goal.subject)
            value = found.value if found is not None else None
            reached = "not measured" if value is None else "aim" if value >= (goal.aim or 2) else "yes"
            if value is not None and value < goal.required:
                reached = "missed"
            if goal.tried:
                tried.append(f"{card.id}, {goal.metric}: {goal.tried}")
            aim = "" if goal.aim is None else f"{goal.aim:.2f}"
            size = "" if found is None else str(found.n)
            lines.append(
                (f"[{card.id}]({card.id}.md)", goal.metric, _value(found), size, f"{goal.required:.2f}", aim, reached)
            )
    header = ("model", "figure on the test part", "measured (95 % interval)", "n", "required", "aim", "reached")
    text = (
        "# The models\n\n"
        f"{DISCLAIMER}\n\n"
        "Every figure is of the test part. Weights, epochs, calibration and operating points were chosen on the "
        "validation part or by cross-validation without the test part. Development did look at test figures between "
        "versions: lung-cancer-ct, skin-lesion-7 and chest-xray-14 are second versions, and the rules for calibration "
        "and operating points of exclusive classes, and Dice of the served probability, were settled after a first "
        "look. Intervals come from 1,000 draws of whole groups (patients where they are known; each page names its "
        "groups).\n\n"
        f"{_table(header, lines)}\n\n"
        f"{_bullets('Missed, or open to question', tried)}\n\n"
        "`python -m models.training evaluate MODEL --data DIR` measures a model again; "
        "`python -m models.training pages` writes these pages.\n"
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _head(card: ModelCard) -> str:
    facts = (
        ("Identifier", f"`{card.id}`, version {card.version}"),
        ("Task", f"{card.task}: {', '.join(card.classes)}"),
        ("Network", f"`{card.architecture}`"),
        ("Licence of the weights", card.licence),
        ("Weights", f"`{card.weights.file}`, sha256 `{card.weights.sha256}`"),
    )
    return f"# {card.title}\n\n{DISCLAIMER}\n\n{_table(('', ''), facts)}"


def _use(card: ModelCard) -> str:
    text = f"## Intended use\n\n{card.intended_use}"
    return f"{text}\n\n{_bullets('Not for', card.not_for)}" if card.not_for else text


def _data(card: ModelCard, metrics: Mapping[str, Any]) -> str:
    splits = [name for name in ("train", "val", "test", "leaked") if name in metrics["cases"]]
    lines: list[Sequence[str]] = [
        ("images", *(str(metrics["cases"][split]) for split in splits)),
        (f"groups: {metrics['group_unit']}", *(str(metrics["groups"][split]) for split in splits)),
    ]
    lines += [(name, *(str(metrics["counts"][split][name]) for split in splits)) for name in card.classes]
    text = (
        f"## Data\n\n{card.training.data}. Licence: {card.training.licence}.\n\n"
        f"Images by part, and those that show each class:\n\n{_table(('', *splits), lines)}\n\n"
        "No group and no identical image is in two of the parts train, val and test; the release checks this."
    )
    if "leaked" in splits:
        text += ' "leaked" are published test images that repeat others; they are in none of the parts.'
    return text


def _training(card: ModelCard) -> str:
    table = card.training
    text = (
        f"## Training\n\n{table.notes}. Loss: {table.loss}. {table.epochs} epochs, of which the one with the best "
        f"validation was kept, seed {table.seed}, "
        f"{table.minutes:.0f} minutes on {table.machine}. Recipe: `{table.recipe}`; epochs in `{table.history}`."
    )
    if card.losses:
        best = max(card.losses, key=lambda trial: trial.value)
        lines = [
            (trial.loss, f"{trial.value:.3f}", f"{trial.value - best.value:+.3f}", str(trial.epochs))
            for trial in card.losses
        ]
        text += (
            f"\n\nLosses after the same short training, by {best.metric} on the validation part "
            f"(best: {best.loss}):\n\n{_table(('loss', best.metric, 'against the best', 'epochs'), lines)}\n\n{table.loss_note}"
        )
    return text


def _performance(card: ModelCard, metrics: Mapping[str, Any]) -> str:
    every = [Measure(**one) for one in metrics["measures"]]
    test = [one for one in every if one.split == "test"]
    header = ("figure", "value (95 % interval)", "n", "note")
    parts = [f"## Performance on the test part\n\n{card.thresholds.source[:1].upper()}{card.thresholds.source[1:]}."]
    overall = [one for one in test if not one.subject and not one.subgroup]
    rest = [one for one in test if one.subject and not one.subgroup and one.metric not in PER_CLASS]
    parts.append(f"### Overall\n\n{_table(header, [_line(one.metric, one) for one in overall + rest])}")
    by_class = [one for one in test if one.subject and not one.subgroup and one.metric in PER_CLASS]
    if by_class:
        lines = []
        for name in card.classes:
            own = {one.metric: one for one in by_class if one.subject == name}
            lines.append((name.replace("_", " "), *(_cell(own[metric]) for metric in PER_CLASS)))
        parts.append(f"### By class\n\n{_table(('class', *PER_CLASS), lines)}")
        parts.append("n counts all cases for AUROC and AUPRC, positives for sensitivity, negatives for specificity, "
                     "cases flagged for PPV and not flagged for NPV.")  # fmt: skip
    groups = [_line(f"{one.subgroup}: {one.metric}", one) for one in test if one.subgroup]
    if groups:
        parts.append(f"### By subgroup\n\n{_table(header, groups)}")
    published = [_line(one.metric, one) for one in every if one.split == AS_PUBLISHED]
    if published:
        parts.append(f"### On the test part as it was published\n\n{_table(header, published)}")
    if metrics.get("metadata"):
        more = [_line(one.metric, one) for one in (Measure(**fields) for fields in metrics["metadata"])]
        parts.append(f"### With age, sex and site\n\n{_table(header, more)}")
    if metrics.get("confusion"):
        names, matrix = metrics["confusion"]["classes"], metrics["confusion"]["matrix"]
        lines = [(name, *map(str, row)) for name, row in zip(names, matrix, strict=True)]
        parts.append(f"### Confusion\n\nRows: truth. Columns: decision.\n\n{_table(('', *names), lines)}")
    return "\n\n".join(parts)


def _calibration(card: ModelCard, metrics: Mapping[str, Any]) -> str:
    table, found = card.calibration, metrics["calibration"]
    header = ("", "negative log-likelihood", "calibration error", "Brier score")
    tried = [(one["method"], *_qualities(one)) for one in found["validation"]]
    test = [(f"test, {when}", *_qualities(found["test"][when])) for when in ("before", "after")]
    return (
        f"## Calibration\n\nMethod: {table.method}, scale {_numbers(table.scale)}, offset {_numbers(table.offset)}; "
        f"{table.source}. One unit is one {found['unit']}.\n\nTried on validation groups left out of the fit:\n\n"
        f"{_table(header, tried)}\n\nOn the test part:\n\n{_table(header, test)}"
    )


def _robustness(card: ModelCard) -> str:
    if not card.robustness:
        return ""
    base, *rest = card.robustness
    strengths = sorted({one.strength for one in rest})
    values = {(one.corruption, one.strength): f"{one.value:.3f}" for one in rest}
    names = list(dict.fromkeys(one.corruption for one in rest))
    lines = [(name, *(values[name, strength] for strength in strengths)) for name in names]
    header = ("corruption", *(f"strength {strength}" for strength in strengths))
    return (
        f"## Robustness\n\n{base.metric} on {base.n} test images: {base.value:.3f} as they are; corrupted "
        f"(`models/training/corrupt.py` gives the strengths):\n\n{_table(header, lines)}"
    )


def _unusual(card: ModelCard) -> str:
    if card.unusual is None:
        return ""
    table = card.unusual
    lines = [(name, f"{value:.3f}", str(table.n.get(name, ""))) for name, value in table.auroc.items()]
    return (
        f"## Unusual images\n\nThe app warns of images whose features lie far from the training images'; "
        f"{table.kept:.1%} of own validation images pass without. AUROC of that distance, strange against own test "
        f"images (0.5: cannot tell them; below: strange ones look more usual):\n\n"
        f"{_table(('strange images', 'AUROC', 'n'), lines)}"
    )


def _published(card: ModelCard) -> str:
    if not card.published:
        return ""
    lines = [(one.name, one.metric, f"{one.value:.3f}", one.source, one.comparable) for one in card.published]
    header = ("work", "figure", "value", "source", "like for like?")
    return f"## Published figures\n\n{_table(header, lines)}"


def _reproduce(card: ModelCard, metrics: Mapping[str, Any]) -> str:
    half = metrics["fp16"]
    return (
        f"## Reproduce\n\n`python -m models.training evaluate {card.id} --data DIR` measures the test part again; "
        f"scores of every case are in `evaluation/test.parquet` and `evaluation/validation.parquet`. The weights are "
        f"in half precision, small tensors in single ({half['bytes'] / 1e6:.1f} MB); against single precision a probability moves by at most "
        f"{half['largest_difference']:.1e} on {half['n']} validation images."
    )


def _bullets(title: str, sentences: Sequence[str]) -> str:
    heading = f"## {title}" if title != "Not for" else "Not for:"
    return f"{heading}\n\n" + "\n".join(f"- {sentence}" for sentence in sentences) if sentences else ""


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _line(title: str, measure: Measure) -> tuple[str, str, str, str]:
    return title, _value(measure), str(measure.n), measure.note


def _value(measure: Measure | None) -> str:
    if measure is None:
        return "not measured"
    if measure.value is None:
        return "too few"
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f}"
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f})"


def _cell(measure: Measure) -> str:
    return f"{_value(measure)}, n = {measure.n}"


def _qualities(found: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{found[name]:.4f}" for name in ("nll", "ece", "brier"))


def _numbers(value: PerClass) -> str:
    return ", ".join(f"{one:.3g}" for one in (value if isinstance(value, tuple) else (value,)))
