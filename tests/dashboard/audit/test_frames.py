"""Every format and spelling of a file gives the same table; a bad file is refused in one sentence."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from dashboard.audit.reading import build, guess, read_frame
from models.errors import DataError


def wide(**columns: object) -> pd.DataFrame:
    made = {
        "image": list("abcd"),
        "patient_id": [1, 1, 2, 3],
        "score_Mass": [0.9, 0.1, 0.4, 0.2],
        "label_Mass": [1, 0, 1, 0],
    }
    return pd.DataFrame(made | columns)


def csv(frame: pd.DataFrame, **options: object) -> bytes:
    return frame.to_csv(index=False, **options).encode()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", csv),
        ("T.CSV", lambda frame: b"\xef\xbb\xbf" + csv(frame)),
        ("t.tsv", lambda frame: csv(frame, sep="\t")),
        ("t.csv", lambda frame: csv(frame, sep=";", decimal=",")),
        ("t.parquet", lambda frame: frame.to_parquet(index=False)),
        ("t.parquet", lambda frame: frame.set_index("image").to_parquet()),
    ],
)
def test_every_format_gives_the_same_table(name, write):
    frame = wide(age=[61, 61, None, 40], sex=["F", "F", None, "M"])
    direct = build(frame, guess(frame), "t")
    read = read_frame(write(frame), name)
    assert build(read, guess(read), "t").digest == direct.digest


def test_a_path_reads_like_its_bytes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(csv(wide()))
    pd.testing.assert_frame_equal(read_frame(path, path.name), read_frame(path.read_bytes(), "t.csv"))


def test_leading_zeros_stay_and_none_may_be_a_class():
    frame = read_frame(b"case_id,class,label,score\n007,None,1,0.5\n010,None,0,0.2\n", "t.csv")
    table = build(frame, guess(frame), "t")
    assert table.cases["case_id"].tolist() == ["007", "010"]
    assert table.classes == ("None",)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("scores.xlsx", b"PK", "give a CSV, TSV or parquet file"),
        ("scores", b"a,b\n1,2\n", "give a CSV, TSV or parquet file"),
        ("t.csv", b"", "empty, damaged"),
        ("t.csv", b"\n\n", "empty, damaged"),
        ("t.csv", b"a,b\n", "holds no rows"),
        ("t.csv", b"\x89PNG\x00\x00\x00", "empty, damaged"),
        ("t.csv", b'a,b\n1,"2\n', "empty, damaged"),
        ("t.csv", b"a,b\n1,2\n1,2,3,4\n", "empty, damaged"),
        ("t.csv", b"a,a\n1,2\n", "two columns named a"),
        ("t.parquet", b"", "empty, damaged"),
        ("t.parquet", b"PAR1 broken PAR1", "empty, damaged"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(name, data, says):
    with pytest.raises(DataError, match=says) as caught:
        read_frame(data, name)
    assert str(caught.value).startswith(name)


def test_a_cut_parquet_and_an_absent_file_are_refused(tmp_path):
    buffer = io.BytesIO()
    wide().to_parquet(buffer)
    with pytest.raises(DataError, match="damaged"):
        read_frame(buffer.getvalue()[:-40], "t.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_frame(tmp_path / "no.csv", "no.csv")
