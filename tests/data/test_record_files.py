import pytest
import tensorflow as tf

from model_patching.data.record_files import read_examples, read_records
from model_patching.data.source import BadRecord, SourceError

RECORDS = [bytes([65 + number]) * 100 for number in range(5)]
FRAMED = 100 + 16  # bytes of a record in a plain file: its length, two checksums and itself


@pytest.fixture
def write(tmp_path):
    def write(name="a.tfrec", compression="", records=RECORDS):
        path = tmp_path / name
        with tf.io.TFRecordWriter(str(path), options=compression) as writer:
            for record in records:
                writer.write(record)
        return path

    return write


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_the_records_come_with_their_numbers_whatever_the_name(write, compression):
    assert list(read_records(write("a.tfrec", compression))) == list(enumerate(RECORDS))


def test_a_file_without_a_byte_is_an_error_and_a_gzip_without_records_is_none(write, tmp_path):
    assert list(read_records(write("none.tfrec", "GZIP", []))) == []
    (tmp_path / "a.tfrecord.gz").touch()
    for path in (write("none.tfrecord", "", []), tmp_path / "a.tfrecord.gz"):
        with pytest.raises(
            SourceError,
            match=rf"^{path}: is empty; copy it again, or remove it if it is meant to have no records$",
        ):
            list(read_records(path))


# Cut in a record, in the checksum of a length, in a length, and before the last checksum's last byte.
@pytest.mark.parametrize(
    "size, record", [(3 * FRAMED + 50, 3), (3 * FRAMED + 10, 3), (3 * FRAMED + 5, 3), (5 * FRAMED - 1, 4)]
)
def test_a_file_that_is_cut_off_is_an_error_after_its_whole_records(write, size, record):
    path = write()
    path.write_bytes(path.read_bytes()[:size])
    found = []
    with pytest.raises(SourceError) as caught:
        for item in read_records(path):
            found.append(item)
    assert found == list(enumerate(RECORDS[:record]))
    assert str(caught.value) == f"{path}, record {record}: the file is cut off here"


def test_a_gzip_file_that_is_cut_off_between_two_records_is_an_error(write):
    path = write(compression="GZIP")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SourceError, match=rf"^{path}, record 5: the file is cut off here$"):
        list(read_records(path))


@pytest.mark.parametrize("byte", [2, 9, 50, 114])  # of the length, its checksum, the record and its checksum
def test_a_wrong_checksum_names_the_record(write, byte):
    path = write()
    content = bytearray(path.read_bytes())
    content[2 * FRAMED + byte] ^= 255
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"^{path}, record 2: wrong checksum: the file is damaged, or"):
        list(read_records(path))


def test_what_is_no_record_file_is_an_error(tmp_path):
    page = tmp_path / "page.tfrec"
    page.write_text("<html>There is no such download.</html>")
    with pytest.raises(SourceError, match=rf"^{page}, record 0: .* not a TFRecord file$"):
        list(read_records(page))
    with pytest.raises(SourceError, match=rf"^{tmp_path}/none: can't be read: No such file or directory$"):
        list(read_records(tmp_path / "none"))
    with pytest.raises(SourceError, match=rf"^{tmp_path}: can't be read: "):
        list(read_records(tmp_path))


def test_a_record_that_is_no_example_is_bad_and_the_next_one_is_read(write):
    example = tf.train.Example()
    example.features.feature["y"].int64_list.value.append(3)
    path = write(records=[example.SerializeToString(), b"\xff\xff", example.SerializeToString()])
    first, second, third = read_examples(path)
    assert first == (0, example) and third == (2, example)
    assert second == (1, BadRecord(f"{path}, record 1", "not a serialized tf.train.Example"))
