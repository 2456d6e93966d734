"""From a table of the reader's, or of the zoo, to a validated :class:`AuditTable`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.audit.cells import Cells, validate
from dashboard.audit.columns import Columns, guess, names_images, plain_name
from dashboard.audit.frames import read_frame
from dashboard.audit.intervals import FEW
from dashboard.audit.labels import read_labels, read_scores, read_shared, read_text
from dashboard.audit.table import CASE, FILE, PATIENT, RESERVED, SPLIT, AuditTable, Rows, Task
from models.card import ModelCard
from models.errors import DataError
from models.evaluation import read_evaluation

__all__ = ["Columns", "build", "build_for", "for_card", "guess", "has_evaluation", "read_frame", "task_of", "zoo_table"]

PARTS = ("validation", "test")
# Columns of an evaluation that are results, not facts of the case: uncalibrated scores and overlaps of masks.
_RESULTS = ("raw_score", "dice", "mean_dice", "mean_dice_uncalibrated", "sensitivity", "specificity", "mae", "true_share", "found_share")  # fmt: skip
_SUM_TOLERANCE = 0.02  # probabilities of exclusive classes written with few digits
_SOFTMAX = (
    "Every row has exactly one true class, so the classes are taken to exclude each other and the logits went through a "
    "softmax; if they can hold together, choose findings side by side in the mapping."
)
NO_LEAK = "No patient is in two splits."
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Read:
    """A table taken apart: (n, K) labels and scores, and for each case its first row in the reader's table."""

    classes: tuple[str, ...]
    labels: Numbers
    scores: Numbers
    cases: pd.Series
    rows: Rows
    attributes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def build(
    frame: pd.DataFrame,
    columns: Columns,
    title: str,
    task: Task | None = None,
    thresholds: Sequence[float] | None = None,
    model_id: str = "",
    logits: bool = False,
) -> AuditTable:
    """The table of an audit, in the order in which the cases appear.

    Args:
        task: recognised if not given: exclusive where every known row has one true class and the scores sum to 1.
        thresholds: K operating points; if not given 0.5, or for exclusive classes 1 each (the largest score).
        logits: the scores are logits, to be turned into probabilities by softmax (exclusive) or sigmoid.

    Raises:
        DataError: one sentence naming row, column and value of what is wrong.
    """
    _check_columns(frame, columns, title)
    frame = frame.reset_index(drop=True)
    read = (_wide if columns.form == "wide" else _long)(frame, columns, title, logits)
    guessed = task is None and logits
    task = task or _task(read, logits)
    softmax = (_SOFTMAX,) if guessed and task == "multiclass" else ()
    labels = _labels_for(task, read, title)
    scores = _probabilities(read.scores, task) if logits else np.clip(read.scores, 0, 1)
    count = len(read.classes)
    points = tuple(thresholds) if thresholds is not None else (1.0 if task == "multiclass" else 0.5,) * count
    cases, kept = _cases(frame, columns, read)
    left_out = [name for name in map(str, frame.columns) if name not in columns.used]
    leak = _leak(cases)
    told = (leak,) if leak not in ("", NO_LEAK) else ()
    return AuditTable(
        title,
        task,
        read.classes,
        cases,
        labels.astype(np.float32),
        scores.astype(np.float32),
        points,
        model_id,
        (*read.notes, *softmax, *kept, *_about_labels(read.classes, labels), *told, *_about_columns(left_out)),
        leak,
    )


def has_evaluation(card: ModelCard) -> bool:
    return any(path.is_file() for path in _evaluations(card))


def zoo_table(card: ModelCard) -> AuditTable:
    """The scores a model was evaluated with, validation and test part, with the card's operating points.

    Raises:
        DataError: the model's folder holds no evaluation, or one of other classes.
    """
    parts = [read_frame(path, path.name) for path in _evaluations(card) if path.is_file()]
    if not parts:
        raise DataError(
            f"The model {card.title} has no table of scores (evaluation/test.parquet); audit one of your own instead."
        )
    frame = pd.concat(parts, ignore_index=True)
    needed = (CASE, "class", "label", "score")
    missing = [name for name in needed if name not in frame]
    if missing:
        raise DataError(f"The evaluation of {card.title} has no column {missing[0]}; evaluate the model again.")
    if set(frame["class"].unique()) != set(card.classes):
        raise DataError(f"The evaluation of {card.title} has other classes than its card; evaluate the model again.")
    frame = frame.drop(columns=[name for name in _RESULTS if name in frame])
    frame["class"] = pd.Categorical(frame["class"], list(card.classes))
    named = ("group_id" if "group_id" in frame else "", SPLIT if SPLIT in frame else "")
    free = tuple(name for name in map(str, frame.columns) if name not in (*needed, *named))
    columns = Columns(CASE, *named, free, "long")
    table = build(frame, columns, card.title, task_of(card), card.threshold_array.tolist(), card.id)
    evaluation = read_evaluation(card.folder)
    return table if evaluation is None else replace(table, group_unit=evaluation.group_unit)


def task_of(card: ModelCard) -> Task:
    """A segmentation network is audited by the scores of whole images."""
    if card.task == "segmentation":
        return "binary" if len(card.classes) == 1 else "multilabel"
    return card.task


def _evaluations(card: ModelCard) -> list[Path]:
    return [card.folder / "evaluation" / f"{part}.parquet" for part in PARTS]


def _check_columns(frame: pd.DataFrame, columns: Columns, title: str) -> None:
    if frame.empty:
        raise DataError(f"{title} holds no rows.")
    absent = [name for name in columns.used if name not in frame]
    if absent:
        raise DataError(f"{title} has no column {absent[0]!r}; choose another in the mapping.")
    if columns.form == "wide" and not columns.wide:
        raise DataError(f"No class of {title} has a score and a label column; name them in the mapping.")
    if columns.form == "long" and not columns.case:
        raise DataError(f"No column of {title} names the cases, which a table of one row a class needs; choose it.")
    scores = [score for score, _ in columns.wide.values()] if columns.form == "wide" else []
    twice = [name for name in scores if scores.count(name) > 1]
    if twice:
        raise DataError(f"The score column {twice[0]!r} is given to two classes; give each class its own.")


def _wide(frame: pd.DataFrame, columns: Columns, title: str, logits: bool) -> _Read:
    classes = tuple(columns.wide)
    numbered = pd.Series([f"row {row + 1}" for row in range(len(frame))])
    cases = read_text(frame[columns.case]) if columns.case else numbered
    prepared: dict[str, object] = {"case": cases}
    origin = {"case": columns.case}
    used = [label for _, label in columns.wide.values()]
    for k, (score, label) in enumerate(columns.wide.values()):
        sharing = [index for index, other in enumerate(used) if other == label]
        if len(sharing) == 1:
            prepared[f"label {k}"] = read_labels(frame[label])
        else:
            shared = read_shared(frame[label], [classes[index] for index in sharing])
            prepared[f"label {k}"] = shared[:, sharing.index(k)]
        prepared[f"score {k}"] = read_scores(frame[score])
        origin |= {f"label {k}": label, f"score {k}": score}
    cells = Cells(pd.DataFrame(prepared), origin, frame, title)
    validate(cells, logits)
    _refuse_twice(cases, title, columns.case)
    notes = () if columns.case else ("No column names the cases; they are numbered by row.",)
    return _Read(
        classes, cells.values("label"), cells.values("score"), cases, np.arange(len(frame)), columns.attributes, notes
    )


def _long(frame: pd.DataFrame, columns: Columns, title: str, logits: bool) -> _Read:
    of_class, of_label, of_score = columns.long
    if frame[of_class].isna().any():
        row = int(np.flatnonzero(frame[of_class].isna())[0])
        raise DataError(f"Row {row + 1:,} of {title}: {of_class} is empty; every row needs a class.")
    cases = read_text(frame[columns.case])
    prepared = {"case": cases, "label 0": read_labels(frame[of_label]), "score 0": read_scores(frame[of_score])}
    cells = Cells(
        pd.DataFrame(prepared), {"case": columns.case, "label 0": of_label, "score 0": of_score}, frame, title
    )
    validate(cells, logits)
    case, names = pd.factorize(cases)
    kind, classes = _classes_of(frame[of_class])
    place = case * len(classes) + kind
    again = np.flatnonzero(pd.Series(place).duplicated())
    if len(again):
        first = int(np.flatnonzero(place == place[again[0]])[0])
        raise DataError(
            f"Rows {first + 1:,} and {again[0] + 1:,} of {title} both score {classes[kind[again[0]]]} for the case "
            f"{cases.iloc[first]} ({len(again):,} such rows); keep one row a case and class."
        )
    shape = (len(names), len(classes))
    labels, scores = np.full(shape, np.nan), np.full(shape, np.nan)
    labels.flat[place], scores.flat[place] = cells.values("label")[:, 0], cells.values("score")[:, 0]
    if len(place) < labels.size:
        row, k = np.argwhere(np.isnan(scores))[0]
        raise DataError(
            f"The case {names[row]} of {title} has no row for {classes[k]} ({labels.size - len(place):,} such gaps); "
            "every case needs a score of every class."
        )
    rows = np.flatnonzero(~pd.Series(case).duplicated())
    for column in (columns.patient, columns.split):
        differing = _differing(frame[column], rows[case]) if column else np.array([], dtype=np.intp)
        if len(differing):
            raise DataError(
                f"Row {differing[0] + 1:,} of {title}: {column} is {frame[column].iloc[differing[0]]} but "
                f"{frame[column].iloc[rows[case[differing[0]]]]} in an earlier row of the same case; make them equal."
            )
    uneven = [name for name in columns.attributes if len(_differing(frame[name], rows[case]))]
    kept = tuple(name for name in columns.attributes if name not in uneven)
    return _Read(
        classes, labels, scores, pd.Series(names), rows, kept, _about_columns(uneven, "they vary within a case")
    )


def _classes_of(values: pd.Series) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class number of each row; classes in the order of a categorical column, else of their first row."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes, names = values.cat.codes.to_numpy(), values.cat.categories
    else:
        codes, names = pd.factorize(read_text(values).str.strip())
    return np.array(codes, dtype=np.int64), tuple(str(name) for name in names)


def _differing(values: pd.Series, first: Rows) -> Rows:
    """Rows whose value is not that of the first row of their case."""
    codes, _ = pd.factorize(values)
    return np.flatnonzero(codes != codes[first])


def _refuse_twice(cases: pd.Series, title: str, column: str) -> None:
    again = np.flatnonzero(cases.duplicated())
    if len(again):
        name = cases.iloc[again[0]]
        first = int(np.flatnonzero(cases == name)[0])
        raise DataError(
            f"Rows {first + 1:,} and {again[0] + 1:,} of {title} both hold the case {name} in {column} "
            f"({len(again):,} repeated rows); keep one row a case, or choose another case column."
        )


def _task(read: _Read, logits: bool) -> Task:
    if len(read.classes) == 1:
        return "binary"
    known = ~np.isnan(read.labels).all(axis=1)
    alone = bool(known.any()) and bool((np.nansum(read.labels[known], axis=1) == 1).all())
    summed = logits or bool((np.abs(read.scores.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())
    return "multiclass" if alone and summed else "multilabel"


def _labels_for(task: Task, read: _Read, title: str) -> Numbers:
    """As read; exclusive classes have one 1 a row, or the row is unknown. Raises DataError where neither holds."""
    if (task == "binary") != (len(read.classes) == 1):
        raise DataError(
            f"{title} has {len(read.classes)} classes, which does not go with the task {task}; choose another task or "
            "model."
        )
    if task != "multiclass":
        return read.labels
    ones = np.nansum(read.labels, axis=1)
    wrong = np.flatnonzero((ones > 1) | ((ones == 0) & ~np.isnan(read.labels).any(axis=1)))
    if len(wrong):
        raise DataError(
            f"Row {read.rows[wrong[0]] + 1:,} of {title} has {int(ones[wrong[0]])} true classes "
            f"({len(wrong):,} such cases); where classes exclude each other exactly one is true."
        )
    return np.where(ones[:, None] == 1, np.nan_to_num(read.labels), np.nan)


def _probabilities(logits: Numbers, task: Task) -> Numbers:
    if task == "multiclass":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))  # the logistic function, without overflow


def _cases(frame: pd.DataFrame, columns: Columns, read: _Read) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The frame of the cases, and what is to be said of it."""
    facts = {CASE: read.cases.reset_index(drop=True)}
    rows = frame.iloc[read.rows].reset_index(drop=True)
    notes = []
    for name, column in ((PATIENT, columns.patient), (SPLIT, columns.split)):
        if column:
            facts[name] = read_text(rows[column])
    if columns.patient and facts[PATIENT].isna().any():
        unknown = facts[PATIENT].isna()
        facts[PATIENT] = facts[PATIENT].where(~unknown, "case " + facts[CASE])
        notes.append(f"{int(unknown.sum()):,} cases name no patient; each counts as a patient of its own.")
    patients = facts[PATIENT].nunique() if columns.patient else len(rows)
    if patients < FEW <= len(rows):
        notes.append(
            f"{columns.patient} names only {patients:,} patients for {len(rows):,} cases; if it is another kind of group, "
            "choose another patient column."
        )
    for column in read.attributes:
        values = rows[column]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            facts[_attribute(column, facts)] = pd.Series(values.to_numpy(np.float64, na_value=np.nan))
        else:
            name = FILE if names_images(values) and FILE not in facts else _attribute(column, facts)
            facts[name] = read_text(values)
    return pd.DataFrame(facts), tuple(notes)


def _attribute(column: str, taken: Mapping[str, object]) -> str:
    """A name that cannot be taken for the case, patient or split."""
    return f"{column} (column)" if column in RESERVED or column in taken else column


def _about_labels(classes: Sequence[str], labels: Numbers) -> list[str]:
    notes = []
    known = ~np.isnan(labels)
    for k, name in enumerate(classes):
        count, ones = int(known[:, k].sum()), int((labels[:, k] == 1).sum())
        if not count:
            notes.append(f"{name}: no label is known, so nothing can be said of its scores.")
        elif ones in (0, count):
            one = "negative" if not ones else "positive"
            notes.append(f"{name}: all {count:,} known labels are {one}; what needs both kinds cannot be estimated.")
    unknown = int(labels.size - known.sum())
    if unknown and known.any(axis=0).all():
        notes.append(f"{unknown:,} of {labels.size:,} labels are unknown and left out, class by class.")
    return notes


def _leak(cases: pd.DataFrame) -> str:
    """What is to be said of patients in several splits."""
    if PATIENT not in cases or SPLIT not in cases or cases[SPLIT].nunique() < 2:
        return ""
    leaking = cases.groupby(PATIENT)[SPLIT].transform("nunique") > 1
    if not leaking.any():
        return NO_LEAK
    patients = cases.loc[leaking, PATIENT].nunique()
    who = "1 patient is" if patients == 1 else f"{patients:,} patients are"
    return (
        f"Leak: {who} in more than one split, with {int(leaking.sum()):,} cases; figures of one split are then not "
        "independent of the others."
    )


def _about_columns(names: Sequence[str], why: str = "not used") -> tuple[str, ...]:
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return (f"Columns left out ({why}): {shown}.",) if names else ()


def build_for(
    card: ModelCard | None,
    frame: pd.DataFrame,
    columns: Columns,
    title: str,
    task: Task | None = None,
    logits: bool = False,
) -> AuditTable:
    """As :func:`build`, and then :func:`for_card` where a model is given, whose task is taken if none is."""
    if task is None and card is not None:
        task = task_of(card)
    table = build(frame, columns, title, task, logits=logits)
    return table if card is None else for_card(table, card)


def for_card(table: AuditTable, card: ModelCard) -> AuditTable:
    """The table as scores of a model: its classes, in its order and spelling, and its operating points.

    Raises:
        DataError: a class of the card is not in the table.
    """
    found = {plain_name(name): k for k, name in enumerate(table.classes)}
    missing = [name for name in card.classes if plain_name(name) not in found]
    if missing:
        raise DataError(f"{table.title} has no scores of {missing[0]}, a class of {card.title}; choose another model.")
    chosen = [found[plain_name(name)] for name in card.classes]
    if table.exclusive != card.exclusive or len(chosen) < len(table.classes):
        raise DataError(f"{table.title} has other classes than {card.title}; choose another model.")
    return replace(
        table,
        classes=card.classes,
        labels=table.labels[:, chosen],
        scores=table.scores[:, chosen],
        thresholds=tuple(card.threshold_array.tolist()),
        model_id=card.id,
    )
