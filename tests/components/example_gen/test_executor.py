"""The executor, on folders of records that are whole and on damaged ones."""

import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import gzip

import pytest
import tensorflow as tf
from tfx.components.util import examples_utils, tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from model_patching.components.example_gen import copy_records
from model_patching.components.example_gen.component import ExampleGen
from model_patching.components.example_gen.executor import Executor
from model_patching.data import schema
from model_patching.data.dataset import SPLITS
from model_patching.data.schema import Record
from model_patching.data.source import SourceError
from model_patching.pipelines.errors import one_paragraph


def numbered(start, count):
    """Records whose ids tell their order."""
    return [Record(b"image", 0, 1, f"r{number:03d}") for number in range(start, start + count)]


@pytest.fixture
def folder(tmp_path, write_records):
    """A folder of records: three files of the training split, one of each other split."""
    folder = tmp_path / "in"
    # They are not written in the order of their names.
    for number in (2, 0, 1):
        write_records(folder / "train" / f"part-{number}.tfrecord.gz", numbered(10 * number, 10))
    write_records(folder / "validation" / "all.tfrecord.gz", numbered(50, 3))
    write_records(folder / "test" / "all.tfrecord.gz", numbered(60, 3))
    return folder


def run(folder, output_dir, mode="in_memory"):
    """Runs the executor as the component does."""
    output_dir.mkdir()
    output = standard_artifacts.Examples()
    output.uri = str(output_dir)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[f"--direct_running_mode={mode}", "--direct_num_workers=2"],
        tmp_dir=str(output_dir.parent / "tmp"),
        unique_id="1",
    )
    given = ExampleGen(str(folder)).exec_properties
    properties = {key: given[key] for key in ("input_base", "input_config")}
    Executor(context).Do({}, {"examples": [output]}, properties)
    return output


def refused(folder, tmp_path):
    """What the run says, which leaves nothing."""
    with pytest.raises(SourceError) as caught:
        run(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    told = one_paragraph(caught.value)
    assert told == f"SourceError: {caught.value}"
    return str(caught.value)


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_files_records_and_their_order_are_kept(folder, tmp_path, mode):
    output = run(folder, tmp_path / "out", mode)
    assert output.splits == list(SPLITS)
    assert examples_utils.get_payload_format(output) == example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
    found = {}
    for split in SPLITS:
        # The way in which TFX finds the files of an Examples artifact.
        (pattern,), (file_format,) = tfxio_utils.get_file_format_and_patterns([output], split)
        assert file_format == "tfrecords_gzip"
        paths = sorted(tf.io.gfile.glob(pattern))
        found[split] = [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]
    assert found == {"train": numbered(0, 30), "validation": numbered(50, 3), "test": numbered(60, 3)}
    assert [path.name for path in sorted((tmp_path / "out" / "Split-train").iterdir())] == [
        f"part-{number}.tfrecord.gz" for number in range(3)
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"Split-{split}" for split in sorted(SPLITS)
    ]


def test_a_split_without_records_is_passed_on(folder, tmp_path, write_records):
    write_records(folder / "validation" / "all.tfrecord.gz", [])
    run(folder, tmp_path / "out")
    (copied,) = (tmp_path / "out" / "Split-validation").iterdir()
    assert gzip.decompress(copied.read_bytes()) == b""


def test_a_file_that_is_cut_off_between_two_records_is_named(folder, tmp_path):
    path = folder / "train" / "part-1.tfrecord.gz"
    whole = gzip.decompress(path.read_bytes())
    # All bytes of the first four records, and then nothing: no end of the gzip either.
    compressor = gzip.zlib.compressobj(wbits=31)
    path.write_bytes(
        compressor.compress(whole[: len(whole) * 4 // 10]) + compressor.flush(gzip.zlib.Z_SYNC_FLUSH)
    )
    assert [schema.deserialize(item) for item in schema.read_records([path]).as_numpy_iterator()] == numbered(
        10, 4
    )
    assert refused(folder, tmp_path) == f"{path}, record 4: the file is cut off here"


def test_a_file_that_is_cut_off_within_a_record_is_named(folder, tmp_path):
    path = folder / "test" / "all.tfrecord.gz"
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[: len(whole) // 2]))
    assert refused(folder, tmp_path) == f"{path}, record 1: the file is cut off here"


def test_a_file_of_which_nothing_came_is_named(folder, tmp_path):
    path = folder / "test" / "all.tfrecord.gz"
    path.write_bytes(b"")
    assert refused(folder, tmp_path) == (
        f"{path}: is empty; copy it again, or remove it if it is meant to have no records"
    )


def test_a_wrong_checksum_is_named(folder, tmp_path):
    path = folder / "train" / "part-2.tfrecord.gz"
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[len(whole) * 7 // 10 + 20] ^= 1  # in the eighth record
    path.write_bytes(gzip.compress(whole))
    assert refused(folder, tmp_path) == (
        f"{path}, record 7: wrong checksum: the file is damaged, or not a TFRecord file"
    )


def test_a_record_that_is_no_example_is_named(folder, tmp_path, write_records):
    path = write_records(folder / "validation" / "all.tfrecord.gz", [*numbered(0, 2), b"\xff\xff"])
    assert refused(folder, tmp_path) == f"{path}, record 2: not a serialized tf.train.Example"


def test_a_split_without_files_is_named(folder, tmp_path):
    (folder / "test" / "all.tfrecord.gz").unlink()
    assert refused(folder, tmp_path) == f"{folder}/test/*.tfrecord.gz: there are no such files"


def test_a_runner_that_loses_a_file_is_told(folder, tmp_path, monkeypatch):
    # Two copies of one path are one copy less.
    monkeypatch.setattr(copy_records, "copy_records", lambda copy, _: copy.target.replace("part-1", "part-2"))
    assert refused(folder, tmp_path) == (
        "only 4 of 5 files came through Beam; run again with --direct_running_mode=in_memory"
    )
