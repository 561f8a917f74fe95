"""Labels files as spreadsheets really write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.errors import LabelFileError
from data_contracts.label_files import LabelColumns, LabelFile, read_label_file
from data_contracts.vocabulary import Split


def read(folder: Path, content: str | bytes, **columns: object) -> LabelFile:
    path = folder / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_label_file(path, LabelColumns(**columns))  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_encoding_delimiter_and_line_end_gives_the_same_rows(
    tmp_path: Path, encoding: str, delimiter: str, line_end: str
) -> None:
    lines = [["image", "label"], ["ünï 図.png", "Größe"], ["b.png", "ok"]]
    table = read(tmp_path, line_end.join(delimiter.join(line) for line in lines).encode(encoding))
    assert [(row.row, row.image, row.label) for row in table.rows] == [(2, "ünï 図.png", "Größe"), (3, "b.png", "ok")]


def test_windows_1252_is_read_with_a_warning(tmp_path: Path) -> None:
    table = read(tmp_path, "image,label\na.png,Größe\n".encode("cp1252"))
    assert table.rows[0].label == "Größe"
    assert "Windows-1252" in table.warnings[0]


def test_quoted_fields_may_hold_delimiters_and_line_ends(tmp_path: Path) -> None:
    table = read(tmp_path, 'image,note,label\n"a,1.png","two\nlines",ok\nb.png,,bad\n')
    assert [(row.row, row.image, row.label) for row in table.rows] == [(2, "a,1.png", "ok"), (3, "b.png", "bad")]


def test_all_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    text = "file;class;patient;fold;serial;lot\na.png;x;p1;Training;S1;L1\nb.png;y;;valid;;L1\n"
    table = read(tmp_path, text, image="file", label="class", group="patient", split="fold", ids=("serial",))
    first, second = table.rows
    assert (first.group, first.split, first.ids) == ("p1", Split.TRAIN, {"serial": "S1"})
    assert (second.group, second.split, second.ids) == (None, Split.VAL, {})
    assert table.other_values == {"lot": ["L1", "L1"]}


def test_rows_are_trimmed_normalised_and_blank_rows_skipped(tmp_path: Path) -> None:
    table = read(tmp_path, "image,label\n a.png , cafe\u0301 \n\n , \nb.png\n")
    assert [(row.row, row.image, row.label) for row in table.rows] == [(2, "a.png", "café"), (5, "b.png", "")]


def test_a_row_with_too_many_cells_is_reported_and_the_rest_is_used(tmp_path: Path) -> None:
    table = read(tmp_path, "image,label\na.png,crack, deep\nb.png,ok\n")
    assert [row.image for row in table.rows] == ["b.png"]
    assert table.errors[0].row == 2
    assert "3 cells" in table.errors[0].reason


def test_an_unknown_split_is_reported_with_the_nearest(tmp_path: Path) -> None:
    table = read(tmp_path, "image,label,split\na.png,x,trian\n", split="split")
    assert (table.errors[0].value, table.errors[0].nearest) == ("trian", "train")
    assert table.rows[0].split is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,lable\na.png,x\n", "Did you mean 'lable'?"),
        ("Image,LABEL\na.png,x\n", "Did you mean 'Image'?"),
        ("image,class\na.png,x\n", "its columns are 'image', 'class'"),
        ("image,label,label\na,b,c\n", "more than one column 'label'"),
        ("image,label\n", "no rows"),
        ("", "is empty"),
        (b"PK\x03\x04" + bytes(100), "Excel workbook"),
        (b"\xff\xd8\xff\x00\x00", "not a text file"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(LabelFileError) as caught:
        read(tmp_path, content)
    assert words in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match="cannot be read"):
        read_label_file(tmp_path / "nowhere.csv", LabelColumns())


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_file_silently(tmp_path: Path) -> None:
    body = "image,label\n" + '"a.png,x\n' + "b.png,y\n" * 30_000
    with pytest.raises(LabelFileError, match="quotation mark"):
        read(tmp_path, body)
