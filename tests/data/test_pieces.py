import pytest

from model_patching.data import pieces
from model_patching.data.pieces import read_piece, write_pieces

RECORDS = [(3, b"abc"), (1, b"d"), (3, b""), (1, b"efgh"), (3, b"ij"), (2, b"k" * 40), (1, b"l")]


@pytest.mark.parametrize("chunk, files", [(1000, 1), (8, 3)])
def test_every_output_file_gets_its_records_in_order(tmp_path, monkeypatch, chunk, files):
    monkeypatch.setattr(pieces, "CHUNK", chunk)
    found = {}
    for number, piece in write_pieces(iter(RECORDS), str(tmp_path / "scratch")):
        found.setdefault(number, []).extend(read_piece(piece))
    assert found == {1: [b"d", b"efgh", b"l"], 2: [b"k" * 40], 3: [b"abc", b"", b"ij"]}
    assert len(list(tmp_path.iterdir())) == files


def test_no_record_is_no_piece(tmp_path):
    assert list(write_pieces([], str(tmp_path / "scratch"))) == []
