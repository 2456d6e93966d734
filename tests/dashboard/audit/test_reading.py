"""Tables of many makes come to the same AuditTable; a bad one is refused in one sentence that says where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from dashboard.audit.reading import Columns, build, for_card, guess, read_frame, zoo_table
from models.card import ModelCard, find_cards
from models.errors import DataError
from sample_data.folders import image_folder
from sample_data.samples import data_folder

ZOO = find_cards([Path(__file__).parents[3] / "models" / "zoo"])[0]
# As published with the outside model's scores.
EXTERNAL_AUROC = {
    "Atelectasis": 0.8180, "Cardiomegaly": 0.9090, "Effusion": 0.8826, "Infiltration": 0.7154, "Mass": 0.8378,
    "Nodule": 0.7758, "Pneumonia": 0.7569, "Pneumothorax": 0.8776, "Consolidation": 0.8002, "Edema": 0.8945,
    "Emphysema": 0.9316, "Fibrosis": 0.8251, "Pleural_Thickening": 0.7889, "Hernia": 0.9175,
}  # fmt: skip


def wide(**columns: object) -> pd.DataFrame:
    """Four cases of two findings; columns given replace or add."""
    made = {
        "image": ["a.png", "b.png", "c.png", "d.png"],
        "patient_id": [1, 1, 2, 3],
        "score_Mass": [0.9, 0.1, 0.4, 0.2],
        "label_Mass": [1, 0, 1, 0],
        "score_Edema": [0.3, 0.6, 0.2, 0.7],
        "label_Edema": [0, 1, 0, 0],
    }
    return pd.DataFrame(made | columns)


def sentence(frame: pd.DataFrame, columns: Columns | None = None, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        build(frame, columns or guess(frame), "mine.csv", **options)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


# -- which column is what ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "label"),
    [
        ("score_{}", "label_{}"), ("prob_{}", "y_{}"), ("p_{}", "true_{}"), ("pred_{}", "label_{}"),
        ("{}_score", "{}_label"), ("y_pred_{}", "y_true_{}"), ("Score {}", "Label {}"), ("score_{}", "{}"),
    ],
)  # fmt: skip
def test_wide_names_in_use_are_told(score, label):
    names = ["Mass", "Pleural_Thickening"]
    frame = pd.DataFrame({"image": ["a", "b"]})
    for name in names:
        frame[label.format(name)], frame[score.format(name)] = [0, 1], [0.1, 0.9]
    columns = guess(frame)
    assert columns.form == "wide"
    assert dict(columns.wide) == {name: (score.format(name), label.format(name)) for name in names}


@pytest.mark.parametrize("case", ["case_id", "image", "Image Index", "file", "filename", "path", "study", "ID"])
@pytest.mark.parametrize("patient", ["patient_id", "Patient ID", "subject", "group_id"])
def test_case_and_patient_names_in_use_are_told(case, patient):
    frame = wide().rename(columns={"image": case, "patient_id": patient})
    columns = guess(frame.assign(fold=[0, 0, 1, 1]))
    assert (columns.case, columns.patient, columns.split) == (case, patient, "fold")


def test_a_repeated_study_is_not_the_case_where_the_image_is():
    frame = wide().rename(columns={"image": "file"}).assign(case_id=["s", "s", "t", "u"])
    assert guess(frame).case == "file"


def test_attributes_tell_groups():
    frame = pd.DataFrame(
        {
            "Unnamed: 0": range(200),
            "case_id": [f"c{i}" for i in range(200)],
            "img_path": [f"folder/{i}.png" for i in range(200)],
            "remark": [f"text {i}" for i in range(200)],
            "accession_id": np.arange(200) * 7,
            "age": np.linspace(20, 80, 200),
            "sex": ["F", "M"] * 100,
            "portable": [True, False] * 100,
            "score": np.linspace(0, 1, 200),
            "raw_score": np.linspace(0, 1, 200),
            "label": [0, 1] * 100,
        }
    )
    columns = guess(frame)
    assert columns.attributes == ("img_path", "age", "sex", "portable")
    table = build(frame, columns, "t")
    assert table.attributes == ("age", "sex", "portable")
    assert table.task == "binary"
    assert any("left out (not used): Unnamed: 0, remark, accession_id, raw_score" in note for note in table.notes)


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        (["image"], "No column names the cases"),
        (["label_Mass", "label_Edema"], "No column tells the labels"),
        (["score_Mass", "score_Edema"], "No column tells the scores"),
        (["score_Mass", "score_Edema", "label_Mass", "label_Edema"], "scores and labels"),
    ],
)
def test_what_cannot_be_found_is_named_with_the_way_out(drop, says):
    with pytest.raises(DataError, match=says) as caught:
        guess(wide().drop(columns=drop))
    assert "mapping" in str(caught.value)


def test_a_mapping_by_hand():
    frame = wide().rename(columns={"image": "Bild", "score_Mass": "m1", "label_Mass": "m2"})
    table = build(frame, Columns("Bild", "patient_id", "", (), "wide", {"Mass": ("m1", "m2")}), "t")
    assert table.classes == ("Mass",)
    assert table.labels[:, 0].tolist() == [1, 0, 1, 0]
    assert table.patients == 3
    numbered = build(frame, Columns("", wide={"Mass": ("m1", "m2")}), "t")
    assert numbered.cases["case_id"].tolist() == ["row 1", "row 2", "row 3", "row 4"]
    assert "no column 'x'" in sentence(frame, Columns("x", wide={"Mass": ("m1", "m2")}))
    twice = {"Mass": ("m1", "m2"), "Edema": ("m1", "label_Edema")}
    assert "given to two classes" in sentence(frame, Columns("Bild", wide=twice))


# -- what is in the table ------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_wide_and_long_of_the_same_data_are_the_same_table(n, count, seed, exclusive):
    rng = np.random.default_rng(seed)
    names = [f"C{k}" for k in range(count)]
    scores, labels = rng.random((n, count)), rng.integers(0, 2, (n, count)).astype(float)
    if exclusive:
        scores, labels = softmax(scores, axis=1), np.eye(count)[rng.integers(0, count, n)]
    labels[rng.random(n) < 0.2] = np.nan
    cases = pd.DataFrame(
        {
            "case_id": rng.permutation([f"{row:03d}" for row in range(n)]),
            "patient_id": rng.integers(0, 9, n),
            "age": rng.choice([30.5, 60.0, np.nan], n),
            "sex": rng.choice(["F", "M"], n),
        }
    )
    flat = cases.assign(**{f"score_{x}": scores[:, k] for k, x in enumerate(names)})
    flat = flat.assign(**{f"label_{x}": labels[:, k] for k, x in enumerate(names)})
    tall = cases.loc[np.repeat(np.arange(n), count)].reset_index(drop=True)
    tall = tall.assign(**{"class": names * n, "label": labels.ravel(), "score": scores.ravel()})
    one, other = build(flat, guess(flat), "t"), build(tall, guess(tall), "t")
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.labels, labels.astype(np.float32))
    np.testing.assert_allclose(one.scores, scores, atol=1e-7)


@pytest.mark.parametrize(
    "written",
    [[1, 0, None, 0], [1.0, 0.0, -1.0, 0.0], ["yes", "no", "", "No"], ["True", "FALSE", "unknown", "false"],
     ["Positive", "negative", None, " negative "], ["1", "0", "-1", "0.0"]],
)  # fmt: skip
def test_labels_as_people_write_them(written):
    table = build(wide(label_Mass=written), guess(wide()), "t")
    np.testing.assert_array_equal(table.labels[:, 0], [1, 0, np.nan, 0])
    assert any("1 of 8 labels are unknown" in note for note in table.notes)


def test_whole_booleans():
    assert build(wide(label_Mass=[True, False, True, False]), guess(wide()), "t").labels[:, 0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"label_Mass": [1, 0, 2, 0]}, "Row 3 of mine.csv: label_Mass holds 2;"),
        ({"label_Mass": [1, 0.5, 0, 0]}, "Row 2 of mine.csv: label_Mass holds 0.5;"),
        ({"label_Edema": ["yes", "no", "no", "maybe"]}, "Row 4 of mine.csv: label_Edema holds 'maybe';"),
        ({"score_Mass": [0.1, None, 0.2, None]}, "Row 2 of mine.csv: score_Mass is empty (and 1 more rows)"),
        ({"score_Mass": ["0.1", "0.2", "high", "0"]}, "Row 3 of mine.csv: score_Mass holds 'high', which is not a number"),
        ({"score_Edema": [0.1, -2.5, 1.5, 0]}, "Row 2 of mine.csv: score_Edema holds -2.5 (and 1 more rows)"),
        ({"score_Edema": [0.1, np.inf, 0.5, 0]}, "Row 2 of mine.csv: score_Edema holds inf"),
        ({"image": ["a", "b", None, "d"]}, "Row 3 of mine.csv: image is empty"),
        ({"image": ["a", "b", "c", "a"]}, "Rows 1 and 4 of mine.csv both hold the case a in image"),
    ],
)  # fmt: skip
def test_the_first_wrong_cell_is_named(columns, says):
    assert says in sentence(wide(**columns))


def test_logits_are_converted_only_when_told():
    logits = np.array([2.0, -3.0, 0.0, -800.0])
    frame = wide(score_Mass=logits)
    text = sentence(frame)
    assert "logits" in text
    assert "These scores are logits" in text
    assert "logits=True" in text
    table = build(frame, guess(frame), "t", logits=True)
    np.testing.assert_allclose(table.scores[:, 0], expit(logits), atol=1e-7)
    assert "not a finite number" in sentence(wide(score_Mass=[1, 2, np.inf, 0]), logits=True)


def test_percentages_are_called_so():
    assert "divide them by 100" in sentence(wide(score_Mass=[90, 10, 40, 20], score_Edema=[30, 60, 20, 70]))


def test_logits_of_exclusive_classes_go_through_a_softmax():
    logits = np.random.default_rng(0).normal(size=(6, 3)) * 4
    frame = pd.DataFrame({"image": list("abcdef"), "diagnosis": ["X", "Y", "Z", "X", "Y", None]})
    for k, name in enumerate("XYZ"):
        frame[f"logit_{name}"] = logits[:, k]
    table = build(frame, guess(frame), "t", logits=True)
    assert table.task == "multiclass"
    assert table.thresholds == (1.0,) * 3
    np.testing.assert_allclose(table.scores, softmax(logits, axis=1), atol=1e-6)
    assert np.isnan(table.labels[5]).all()
    assert table.labels[:5].argmax(1).tolist() == [0, 1, 2, 0, 1]


def test_exclusive_classes_are_recognised_and_decided_by_the_largest_score():
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])
    frame = pd.DataFrame({"image": ["a", "b", "c"]})
    for k in range(3):
        frame[f"score_{k}"], frame[f"label_{k}"] = scores[:, k], np.eye(3)[:, k]
    table = build(frame, guess(frame), "t")
    assert table.task == "multiclass"
    np.testing.assert_array_equal(table.decided, np.eye(3, dtype=bool))
    assert build(frame.assign(score_0=[0.1] * 3), guess(frame), "t").task == "multilabel"  # sums are not 1
    assert build(frame.assign(label_0=[1, 1, 0]), guess(frame), "t").task == "multilabel"  # two hold at once
    assert "Row 2 of mine.csv has 2 true classes" in sentence(frame.assign(label_0=[1, 1, 0]), task="multiclass")
    assert "has 3 classes" in sentence(frame, task="binary")


def test_one_label_column_may_name_the_class_or_its_number():
    frame = pd.DataFrame({"image": ["a", "b"], "score_No tumor": [0.9, 0.2], "score_Glioma": [0.1, 0.8]})
    by_name = frame.assign(label=["no_tumor", "GLIOMA"])
    table = build(by_name, guess(by_name), "t")
    by_number = frame.assign(label=[0, 1])
    assert table.digest == build(by_number, guess(by_number), "t").digest
    assert table.classes == ("No tumor", "Glioma")
    assert table.labels.tolist() == [[1, 0], [0, 1]]
    assert "Row 2 of mine.csv: label holds 'Cyst'" in sentence(frame.assign(label=["Glioma", "Cyst"]), guess(by_name))


def test_notes_on_one_class_columns_and_leaks():
    frame = wide(split=["train", "test", "test", "test"], label_Edema=[0, 0, 0, None], label_Mass=[None] * 4)
    notes = " ".join(build(frame, guess(frame), "t").notes)
    assert "Edema: all 3 known labels are negative" in notes
    assert "Mass: no label is known" in notes
    assert "Leak: 1 patient is in more than one split, with 2 cases" in notes


def test_missing_patients_count_each_alone():
    table = build(wide(patient_id=["p", "p", None, None]), guess(wide()), "t")
    assert table.patients == 3
    assert "2 cases name no patient" in table.notes[0]


def test_default_and_given_thresholds():
    assert build(wide(), guess(wide()), "t").thresholds == (0.5, 0.5)
    assert build(wide(), guess(wide()), "t", thresholds=[0.2, 0.3]).thresholds == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: pd.concat([f, f.iloc[[2]]]), "Rows 3 and 5 of mine.csv both score A for the case y"),
        (lambda f: f.iloc[:3], "The case y of mine.csv has no row for B"),
        (lambda f: f.assign(patient_id=[1, 2, 3, 3]), "Row 2 of mine.csv: patient_id is 2 but 1"),
        (lambda f: f.assign(**{"class": ["A", None, "A", "B"]}), "Row 2 of mine.csv: class is empty"),
        (lambda f: f.assign(score=[0, 0, 7, 0]), "Row 3 of mine.csv: score holds 7"),
    ],
)
def test_long_tables_are_refused_by_row(change, says):
    frame = pd.DataFrame(
        {"case_id": list("xxyy"), "patient_id": [1, 1, 3, 3], "class": list("ABAB"), "label": [0, 1, 1, 0],
         "score": [0.1, 0.2, 0.3, 0.4]}
    )  # fmt: skip
    assert says in sentence(change(frame))


def test_an_attribute_that_varies_within_a_case_is_left_out():
    frame = pd.DataFrame(
        {"case_id": list("xxyy"), "class": list("ABAB"), "label": 0, "score": 0.5, "site": list("pppq"), "sex": "F"}
    )
    table = build(frame, guess(frame), "t")
    assert table.attributes == ("sex",)
    assert any("vary within a case): site" in note for note in table.notes)


# -- the tables at hand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", ZOO.values(), ids=ZOO.keys())
def test_a_table_of_the_zoo_is_its_evaluation(card: ModelCard):
    table = zoo_table(card)
    test = table.in_split("test")
    raw = pd.read_parquet(card.folder / "evaluation" / "test.parquet")
    scores = raw.pivot_table(index="case_id", columns="class", values="score").loc[
        test.cases["case_id"], list(card.classes)
    ]
    labels = raw.pivot_table(index="case_id", columns="class", values="label").loc[
        test.cases["case_id"], list(card.classes)
    ]
    np.testing.assert_array_equal(test.scores, scores.to_numpy(np.float32))
    np.testing.assert_array_equal(test.labels, labels.to_numpy(np.float32))
    assert table.classes == card.classes
    assert table.exclusive == card.exclusive
    assert table.model_id == card.id
    assert test.patients == raw["group_id"].nunique()
    np.testing.assert_allclose(table.thresholds, card.threshold_array)
    assert not {"raw_score", "dice", "mae"} & set(table.attributes)
    again = build(pd.DataFrame(table.cases).assign(**_columns(table)), _mapping(table), "t")
    assert for_card(again, card).thresholds == table.thresholds


def _columns(table):
    names = enumerate(table.classes)
    return {f"{kind}_{x}": getattr(table, f"{kind}s")[:, k] for k, x in names for kind in ("score", "label")}


def _mapping(table):
    return Columns("case_id", wide={name.upper(): (f"score_{name}", f"label_{name}") for name in table.classes[::-1]})


def test_scores_of_another_model_are_refused():
    card = next(iter(ZOO.values()))
    with pytest.raises(DataError, match="a class of"):
        for_card(build(wide(), guess(wide()), "t"), card)


def test_a_model_without_evaluation_says_so(tmp_path):
    card = next(iter(ZOO.values())).model_copy(update={"folder": tmp_path})
    with pytest.raises(DataError, match="has no table of scores"):
        zoo_table(card)
    other = replace(build(wide(), guess(wide()), "t"))
    (tmp_path / "evaluation").mkdir()
    pd.DataFrame({"case_id": other.cases["case_id"], "class": "A", "label": 0, "score": 0.5}).to_parquet(
        tmp_path / "evaluation" / "test.parquet"
    )
    with pytest.raises(DataError, match="other classes than its card"):
        zoo_table(card)


def test_the_external_table_loads_as_it_is():
    data = data_folder()
    path = data and data / "cxr14_external_predictions" / "chexnet_reproduction_test_22433.parquet"
    if path is None or not path.is_file():
        pytest.skip("the data folder has no table of external predictions")
    frame = read_frame(path, path.name)
    table = build(frame, guess(frame), "external")
    assert len(table) == 22433
    assert table.task == "multilabel"
    assert table.notes == ()
    assert table.patients == frame["patient_id"].nunique()
    assert table.attributes == ("age", "sex", "view")
    for k, name in enumerate(table.classes):
        assert round(roc_auc_score(table.labels[:, k], table.scores[:, k]), 4) == EXTERNAL_AUROC[name]


def test_the_images_of_a_system_lie_in_the_data_folder(tmp_path, monkeypatch):
    (tmp_path / "nih_cxr14" / "images_128").mkdir(parents=True)
    (tmp_path / "lidc_nodules").mkdir()
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    assert image_folder("chest-xray-14") == tmp_path / "nih_cxr14" / "images_128"
    assert image_folder("lung-nodule") is None
    assert image_folder("nobody") is None
