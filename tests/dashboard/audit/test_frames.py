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


@pytest.mark.parametrize(
    "written",
    [
        "image;score_A;label_A\na;0;1\nb;1;1\nc;0,25;0\nd;8,3E-05;0\n",
        'image;score_A;label_A\na;0;1\nb;1;1\nc;"0,25";0\nd;"8,3E-05";0\n',
        'image,score_A,label_A\na,0,1\nb,1,1\nc,"0,25",0\nd,"8,3E-05",0\n',
        "image\tscore_A\tlabel_A\na\t0\t1\nb\t1\t1\nc\t0,25\t0\nd\t0,000083\t0\n",
        "sep=;\r\nimage;score_A;label_A\r\na;0;1\r\nb;1;1\r\nc;0,25;0\r\nd;8,3E-05;0\r\n",
        '"sep=|"\nimage|score_A|label_A\na|0|1\nb|1|1\nc|0.25|0\nd|8.3e-05|0\n',
        "image,score_A,label_A,\na,0,1,\nb,1,1,\nc,.25,0,\nd,8.3e-5,0,,\n",
        'image,score_A,label_A,remark\n"a",0,1,"a ""b"", c"\n"b",1,1,\n"c",.25,0,\n"d",8.3e-5,0,x\n',
        "image,score_A,label_A\ra,0,1\rb,1,1\rc,.25,0\rd,8.3e-5,0\r",
        "image,score_A,label_A,remark;w;x;y;z\na,0,1,;;;;\nb,1,1,;;;;\nc,.25,0,;;;;\nd,8.3e-5,0,a;b;c;d;e\n",
    ],
)
def test_separators_and_decimal_commas_are_told_from_the_whole_table(written):
    frame = read_frame(written.encode(), "t.csv")
    table = build(frame, guess(frame), "t")
    assert table.cases["case_id"].tolist() == list("abcd")
    assert table.scores[:, 0].tolist() == pytest.approx([0, 1, 0.25, 8.3e-5])
    assert table.labels[:, 0].tolist() == [1, 1, 0, 0]


def test_thousands_in_quotes_are_no_decimals():
    frame = read_frame(b'image,dose\na,"1,234"\nb,"2,500"\n', "t.csv")
    assert frame["dose"].tolist() == ["1,234", "2,500"]


@pytest.mark.parametrize(("row", "fields"), [("c1,0.25,0,9", 4), ("c1,0.25", 2)])
def test_a_row_of_another_length_is_named(row, fields):
    data = f"case_id,score_A,label_A\nc0,0.5,1\n\n{row}\n".encode()
    with pytest.raises(DataError, match=f"Row 2 of t.csv has {fields} fields but the header names 3 columns"):
        read_frame(data, "t.csv")


def test_names_stay_apart_whatever_they_look_like():
    big = 2**53
    data = f"case_id,patient_id,station,score,label\n1.10,{big},1,0.5,1\n1.1,{big + 1},2,0.2,0\n2,,,0.1,0\n"
    frame = read_frame(data.encode(), "t.csv")
    table = build(frame, guess(frame), "t")
    assert table.cases["case_id"].tolist() == ["1.10", "1.1", "2"]
    assert table.cases["patient_id"].tolist() == [str(big), str(big + 1), "case 2"]
    assert frame["station"].tolist()[:2] == [1, 2]
    numbered = f"image,fall,score,label\na,{big},0.5,1\nb,{big + 1},0.2,0\nc,,0.1,0\n".encode()
    assert read_frame(numbered, "t.csv")["fall"].nunique() == 2


def test_whole_names_are_the_same_with_and_without_a_point():
    frame = read_frame(b"image,patient_id,score,label\na,1.0,0.5,1\nb,2.0,0.2,0\nc,,0.1,0\n", "t.csv")
    assert frame["patient_id"].tolist()[:2] == ["1", "2"]


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
