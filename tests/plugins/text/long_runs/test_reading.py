"""Records of every format, with the problem of each that has no text."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.errors import ArgumentError
from vertebra_text.long_runs.errors import OutputError
from vertebra_text.long_runs.reading import read_records


def records(path, *columns, kind=None):
    return [record.text or record.problem for record in read_records([str(path)], columns or ("text",), kind)]


def write(path, data):
    path.write_bytes(data)
    return path


def test_lines_are_texts(tmp_path):
    data = "a b\r\n\nlast ü".encode()
    assert [r.text for r in read_records([str(write(tmp_path / "in.txt", data))], ("text",))] == ["a b", "", "last ü"]


def test_a_line_that_is_not_utf8_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "in.txt", b"good\nb\xffad\ngood\n")
    assert records(path) == ["good", "byte 2 is not UTF-8", "good"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    path = write(tmp_path / "in.txt", b"x" * (2**24 + 5) + b"\nnext\n")
    assert records(path) == ["it has more than 16,777,216 bytes", "next"]


PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")


@given(st.lists(st.text(PRINTABLE), min_size=1))
def test_json_lines_give_the_texts_back(texts):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.jsonl")
        path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
        assert [record.text for record in read_records([str(path)], ("text",))] == texts


def test_problems_of_json_lines(tmp_path):
    lines = [b'{"text": 1}', b"{", b"[1]", b'{"texts": "a"}', b'"plain"', b'{"text": null}']
    found = records(write(tmp_path / "in.jsonl", b"\n".join(lines)))
    assert found[0] == "its field 'text' is 1, expected a text"
    assert found[1].startswith("it is not JSON")
    assert found[2] == "it is not a JSON object but list"
    assert found[3] == "its field 'text' is missing; did you mean 'texts'?"
    assert found[4] == "plain"
    assert found[5] == "its field 'text' is None, expected a text"


def test_pairs_of_texts(tmp_path):
    path = write(tmp_path / "in.jsonl", b'{"query": "q", "document": "d"}')
    assert records(path, "query", "document") == [("q", "d")]
    with pytest.raises(ArgumentError, match="jsonl, csv or parquet"):
        records(write(tmp_path / "in.txt", b"a"), "query", "document")


def test_csv_and_tsv(tmp_path):
    assert records(write(tmp_path / "in.csv", b'\xef\xbb\xbfid,text\n1,"a\nb"\n2,c\n')) == ["a\nb", "c"]
    assert records(write(tmp_path / "in.tsv", b"text\tid\na\t1\n")) == ["a"]
    assert records(write(tmp_path / "bad.csv", b"text\nb\xffad\nc\n")) == ["it is not UTF-8", "c"]
    with pytest.raises(OutputError, match="no column 'text'; its columns are a, b"):
        records(write(tmp_path / "other.csv", b"a,b\n1,2\n"))


def test_a_row_that_is_not_csv_is_one_record(tmp_path):
    found = records(write(tmp_path / "in.csv", b'text,id\na,1\n"b"b,2\nc,3\n'))
    assert found[0] == "a"
    assert found[1].startswith("it is not CSV (line 3: ")
    assert found[2:] == ["c"]
    assert records(write(tmp_path / "long.csv", b"text\n" + b"x" * 200_000 + b"\n"))[0] == "x" * 200_000
    with pytest.raises(OutputError, match="its first row is not CSV"):
        records(write(tmp_path / "head.csv", b'"text"a,b\nc,d\n'))


def test_record_40_000_is_named_by_its_number(tmp_path):
    lines = [b'{"text": "a"}'] * 40_010
    lines[39_999] = b'{"text": "a'
    found = list(read_records([str(write(tmp_path / "in.jsonl", b"\n".join(lines)))], ("text",)))
    assert [(record.number, record.problem[:14]) for record in found if record.problem] == [(40_000, "it is not JSON")]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet files need pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    table = pyarrow.table({"text": ["a", None, "c"], "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "in.parquet")
    assert records(tmp_path / "in.parquet") == ["a", "its field 'text' is None, expected a text", "c"]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert records("-") == ["a", "b"]


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"missing\.txt: it cannot be opened"):
        records(tmp_path / "missing.txt")
