"""Which column of a table holds what: told by the reader, or guessed from the names in common use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from models.errors import DataError

CASE_NAMES = (
    "case_id", "case", "image", "image_id", "image_index", "image_name", "file", "filename", "file_name", "path",
    "image_path", "study", "study_id", "study_uid", "dicom_id", "sop_instance_uid", "id", "name",
)  # fmt: skip
PATIENT_NAMES = ("patient_id", "patient", "patientid", "subject_id", "subject", "group_id", "person_id", "pid")
SPLIT_NAMES = ("split", "partition", "subset", "fold", "dataset_split", "set")
_CLASS_NAMES = ("class", "class_name", "finding", "label_name", "category", "disease", "pathology")
_TRUE_NAMES = ("label", "labels", "y_true", "true", "truth", "target", "ground_truth", "gt", "y", "diagnosis", "dx")
_SCORE_NAMES = ("score", "probability", "prob", "y_score", "y_prob", "y_pred", "prediction", "pred", "p")
# What stands before or after the name of a class, the clearest word first.
_SCORE_WORDS = ("score", "y_score", "prob", "probability", "y_prob", "p", "pred", "prediction", "y_pred", "logit")
_TRUE_WORDS = ("label", "true", "y_true", "truth", "target", "gt", "y")
_FIGURE_WORDS = frozenset({"score", "prob", "probability", "pred", "prediction", "logit", "logits"})
_IMAGE_NAME = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|dcm|dicom|nii|nii\.gz|mha|nrrd)$", re.IGNORECASE)
Form = Literal["wide", "long"]
FEW_VALUES = 50  # a text with more different values is a name or a remark, not a group
_HELP = "name the columns in the mapping"


@dataclass(frozen=True)
class Columns:
    """Where a table keeps its cases, labels and scores; "" for what it does not have.

    Attributes:
        case: names the case, once in a wide table; "" numbers the rows of a wide table.
        attributes: columns kept beside the cases, for subgroups.
        form: "wide" has one row a case, "long" one row a case and class.
        wide: class to (score column, label column). Classes that share a label column exclude each other, and the
            column holds the name (or the number from 0) of the class that is true.
        long: the columns of class, label and score.
    """

    case: str = ""
    patient: str = ""
    split: str = ""
    attributes: tuple[str, ...] = ()
    form: Form = "wide"
    wide: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    long: tuple[str, str, str] = ("class", "label", "score")

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        values = [name for pair in self.wide.values() for name in pair] if self.form == "wide" else list(self.long)
        named = [self.case, self.patient, self.split, *values, *self.attributes]
        return tuple(dict.fromkeys(name for name in named if name))


def guess(frame: pd.DataFrame) -> Columns:
    """The columns as their names tell.

    Wide tables pair ``score_X`` (also prob_, p_, pred_, or X_score) with ``label_X`` (also true_, y_, X_label, or X
    itself), or hold the true class of exclusive ones in a single column; long tables hold class, label and score.

    Raises:
        DataError: no case column, or no pair of scores and labels, can be told.
    """
    found = partial(frame)
    names = [str(name) for name in frame.columns]
    if not found.wide and not all(found.long):
        raise DataError(_no_scores(names, _by_plain(names)))
    if not found.case:
        raise DataError(f"No column names the cases (such as case_id, image or file); {_HELP}.")
    return found


def partial(frame: pd.DataFrame) -> Columns:
    """As :func:`guess`, with "" for what cannot be told."""
    names = [str(name) for name in frame.columns]
    plain = _by_plain(names)
    pairs, long = pairs_in(frame), _long_in(plain)
    form: Form = "long" if long and not pairs else "wide"
    case = _case_column(frame, plain, unique=form == "wide")
    patient = _first(plain, PATIENT_NAMES)
    if not case and form == "wide" and patient and frame[patient].is_unique:
        case, patient = patient, ""
    split = _first(plain, SPLIT_NAMES) or next((own for key, own in plain.items() if key.startswith("split_")), "")
    mapped = Columns(case, patient, split, (), form, pairs, long or ("", "", ""))
    free = [name for name in names if name not in mapped.used]
    return replace(mapped, attributes=tuple(attributes_in(frame, free)))


def pairs_in(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Class to (score column, label column) of a wide table, in the order of its columns; empty where none is told."""
    names = [str(name) for name in frame.columns]
    scores, labels = _by_class(names, _SCORE_WORDS), _by_class(names, _TRUE_WORDS)
    plain = _by_plain(names)
    found = {}
    for key, (title, column) in scores.items():
        label = labels[key][1] if key in labels else plain.get(key)
        if label is not None and label != column:
            found[title] = (column, label)
    if found or _long_in(plain) is not None:
        return found
    true = _first(plain, (*_TRUE_NAMES, *_CLASS_NAMES))
    if len(scores) > 1 and true and _names_classes(frame[true], list(scores)):
        return {title: (column, true) for title, column in scores.values()}
    score = _first(plain, _SCORE_NAMES)
    if score and true:
        return {"Positive": (score, true)}
    return {title: (column, true) for title, column in scores.values()} if len(scores) == 1 and true else {}


def attributes_in(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those that can tell groups of cases apart: numbers, texts of few values, and names of image files."""
    return [name for name in names if _tells_groups(name, frame[name])]


def names_images(values: pd.Series) -> bool:
    """The text is a file name of an image, as far as the first rows tell."""
    if pd.api.types.is_numeric_dtype(values):
        return False
    first = values.dropna().head(20)
    return bool(len(first)) and all(_IMAGE_NAME.search(str(value)) for value in first)


def names_something(column: str) -> bool:
    """The column holds names of cases, patients or other things, whatever they look like."""
    plain = plain_name(column)
    return plain in CASE_NAMES or plain in PATIENT_NAMES or plain.split("_")[-1] in ("id", "uid")


def plain_name(name: str) -> str:
    """In lower case, with one underscore for whatever stands between letters and digits."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _by_plain(names: Sequence[str]) -> dict[str, str]:
    """Plain name to the first column of that name."""
    return {plain_name(name): name for name in reversed(names)}


def _by_class(names: Sequence[str], words: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Plain class name to (name as written, column), in the order of the columns; the clearest word wins."""
    found: dict[str, tuple[str, str]] = {}
    for before in (True, False):
        for word in words:
            between = r"[\s_.:-]+"
            form = f"{word}{between}(.+)" if before else f"(.+?){between}{word}"
            for name in names:
                match = re.fullmatch(form, name, re.IGNORECASE)
                if match:
                    found.setdefault(plain_name(match[1]), (match[1], name))
    place = {name: index for index, name in enumerate(names)}
    return dict(sorted(found.items(), key=lambda item: place[item[1][1]]))


def _long_in(plain: Mapping[str, str]) -> tuple[str, str, str] | None:
    chosen = tuple(_first(plain, known) for known in (_CLASS_NAMES, _TRUE_NAMES, _SCORE_NAMES))
    return (chosen[0], chosen[1], chosen[2]) if all(chosen) else None


def _names_classes(values: pd.Series, classes: Sequence[str]) -> bool:
    """Every value is the name or the number of a class."""
    allowed = {*classes, *map(str, range(len(classes)))}
    return all(plain_name(str(value)).removesuffix("_0") in allowed for value in values.dropna().unique()[:1000])


def _case_column(frame: pd.DataFrame, plain: Mapping[str, str], unique: bool) -> str:
    """The first column of a known name; in a wide table one without repeats goes first."""
    found = [plain[name] for name in CASE_NAMES if name in plain]
    if unique:
        return next((name for name in found if frame[name].is_unique), found[0] if found else "")
    return found[0] if found else ""


def _first(plain: Mapping[str, str], names: Sequence[str]) -> str:
    return next((plain[name] for name in names if name in plain), "")


def _tells_groups(name: str, values: pd.Series) -> bool:
    words = plain_name(name).split("_")
    if name.startswith("Unnamed:") or _FIGURE_WORDS & set(words):
        return False
    few = values.nunique() <= FEW_VALUES
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return few or names_images(values)
    return few or words[-1] not in ("id", "uid", "index", "number")


def _no_scores(names: Sequence[str], plain: Mapping[str, str]) -> str:
    scores, labels = _by_class(names, _SCORE_WORDS), _by_class(names, _TRUE_WORDS)
    given = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    score, true = scores or _first(plain, _SCORE_NAMES), labels or _first(plain, _TRUE_NAMES)
    what = "scores" if true and not score else "labels" if score and not true else "scores and labels of a class"
    return (
        f"No column tells the {what}: expected score_<class> and label_<class>, or class, label and score, "
        f"but the columns are {given}; {_HELP}."
    )
