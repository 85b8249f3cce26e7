import hashlib
from collections import Counter
from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from model_patching.components.augmenter import augment
from model_patching.components.augmenter.augment import PatchSplit, bucket_of, make_batches, shard_of
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.translators import plan_translators
from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record

TWO = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
COUNTS = [[23, 2], [3, 12]]


def batch_mean(images):
    """Each image becomes the mean of its batch: shows which images shared one."""
    return tf.zeros_like(images) + tf.reduce_mean(images, axis=0, keepdims=True)


def negative(images):
    return -images


def write_file(path, records):
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else schema.serialize(record))
    return str(path)


def run(folder, files, model, settings, *args):
    """Patches files into a new folder; returns it."""
    folder.mkdir()
    (folder / "out").mkdir()
    (folder / "scratch").mkdir()
    with beam.Pipeline(argv=list(args)) as pipeline:
        pipeline | PatchSplit(
            files, str(folder / "out"), str(folder / "scratch"), plan_translators([model], TWO), TWO, settings
        )
    assert list((folder / "scratch").iterdir()) == []
    return folder / "out"


def shards(folder):
    return {
        path.name: [schema.deserialize(item) for item in schema.read_records([path]).as_numpy_iterator()]
        for path in sorted(folder.iterdir())
    }


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def pixels(image):
    return tf.io.decode_png(image).numpy().astype(int)


@pytest.fixture
def model(tmp_path, write_model):
    return write_model(tmp_path / "model", {(0, 1): batch_mean, (1, 0): negative})


def test_every_record_comes_out_once_with_both_versions(tmp_path, model, make_records):
    source = make_records(COUNTS)
    files = [write_file(tmp_path / "1", source[:15]), write_file(tmp_path / "2", source[15:])]
    out = shards(run(tmp_path / "run", files, model, AugmenterSettings(batch_size=100)))
    assert list(out) == ["data-00000-of-00001.tfrecord.gz"]
    (found,) = out.values()
    assert len(found) == 40
    plain = {record.example_id: replace(record, patched_images=()) for record in found}
    assert plain == {record.example_id: record for record in source}

    # With one batch a group, "zigzag" is the mean of the group's images, for images of both subgroups.
    for label, subgroup in ((0, 0), (0, 1), (1, 0), (1, 1)):
        group = [record for record in found if (record.label, record.subgroup) == (label, subgroup)]
        mean = np.mean([pixels(record.image) for record in group], axis=0)
        assert len(group) == COUNTS[label][subgroup]
        for record in group:
            into_clean, into_zigzag = record.patched_images
            np.testing.assert_array_equal(pixels(into_clean), 255 - pixels(record.image))
            assert np.abs(pixels(into_zigzag) - mean).max() <= 0.51


def test_batches_are_those_of_the_documented_order(tmp_path, model, make_records, monkeypatch):
    monkeypatch.setattr(augment, "BATCHES_PER_BUCKET", 2)
    source = make_records(COUNTS)
    out = shards(
        run(tmp_path / "run", [write_file(tmp_path / "1", source)], model, AugmenterSettings(batch_size=4))
    )
    (found,) = out.values()

    # By hand: group (0, 0) has 23 records, a bucket about 8, so 3 buckets; each sorted by hash, cut into equal batches.
    group = [record for record in found if (record.label, record.subgroup) == (0, 0)]
    seen = 0
    for bucket in range(3):
        members = [record for record in group if bucket_of(record.example_id, 3) == bucket]
        digest = {
            r.example_id: hashlib.blake2b(r.example_id.encode(), digest_size=8).digest() for r in members
        }
        members.sort(key=lambda record: digest[record.example_id])
        for part in np.array_split(np.arange(len(members)), -(-len(members) // 4)):
            mean = np.mean([pixels(members[i].image) for i in part], axis=0)
            for i in part:
                assert np.abs(pixels(members[i].patched_images[1]) - mean).max() <= 0.51
                seen += 1
    assert seen == 23


def test_bytes_do_not_depend_on_files_order_or_workers(tmp_path, model, make_records, monkeypatch):
    # Beam's timed flush between stages loses records with threads (see `_check_counts`); 0 turns it off.
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 0)
    monkeypatch.setattr(augment, "BATCHES_PER_BUCKET", 2)
    settings = AugmenterSettings(batch_size=4, records_per_shard=10)
    source = make_records(COUNTS)
    one = [write_file(tmp_path / "a", source)]
    three = [write_file(tmp_path / f"b{i}", source[::-1][i::3]) for i in range(3)]
    threads = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    first = contents(run(tmp_path / "run1", one, model, settings))
    assert len(first) == 4
    assert contents(run(tmp_path / "run2", three, model, settings)) == first
    assert contents(run(tmp_path / "run3", three, model, settings, *threads)) == first


def test_shards_are_all_written_sorted_and_mixed(tmp_path, model, make_records):
    source = make_records([[3, 2], [2, 2]])
    settings = AugmenterSettings(records_per_shard=1)
    out = shards(run(tmp_path / "run", [write_file(tmp_path / "1", source)], model, settings))
    assert list(out) == [f"data-{i:05d}-of-00009.tfrecord.gz" for i in range(9)]
    assert sum(len(records) for records in out.values()) == 9
    for shard, records in enumerate(out.values()):
        hashes = [augment.id_hash(record.example_id) for record in records]
        assert hashes == sorted(hashes)
        assert {shard_of(record.example_id, 9) for record in records} <= {shard}
    assert (
        min(len(records) for records in out.values()) == 0
    )  # nine ids over nine shards: one is empty, and there


@pytest.mark.parametrize(
    "count, size, expected",
    [(1, 4, [1]), (4, 4, [4]), (5, 4, [3, 2]), (9, 4, [3, 3, 3]), (10, 4, [4, 3, 3])],
)
def test_batches_have_no_small_remainder(count, size, expected):
    batches = make_batches(count, size)
    assert [batch.stop - batch.start for batch in batches] == expected
    assert [i for batch in batches for i in range(count)[batch]] == list(range(count))


def test_hashes_spread_a_bucket_over_all_shards():
    ids = [f"mnist-train-{i:08d}-clean" for i in range(4000)]
    spread = Counter((bucket_of(example_id, 4), shard_of(example_id, 4)) for example_id in ids)
    assert len(spread) == 16 and min(spread.values()) > 180


def bad_size(record):
    return Record(tf.io.encode_png(np.zeros((4, 5, 1), np.uint8)).numpy(), 0, 0, record.example_id)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda record: b"\xff\xff", "file, record 7: the record is not a serialized tf.train.Example"),
        (lambda record: Record(record.image, 2, 0, "x"), "file, record 7: label 2 is not between 0 and 1"),
        (
            lambda record: Record(b"GIF?", 0, 0, "x"),
            "file, record 7, 'x': bad image: .*Unknown image file format",
        ),
        (bad_size, r"file, record 7, 'example.*': bad image: .*\[4,5,1\] is not compatible.*\[4,4,1\]"),
        (
            lambda record: Record(record.image, 1, 1, "example-0-0-0000"),
            "'example-0-0-0000' comes twice in the split",
        ),
    ],
)
def test_a_bad_record_is_named(tmp_path, model, make_records, change, message):
    source = make_records(COUNTS)
    ids = [record.example_id for record in source]
    swap = ids.index("example-0-0-0000")
    source[0], source[swap] = source[swap], source[0]
    source[7] = change(source[7])
    with pytest.raises(Exception, match=message):
        run(tmp_path / "run", [write_file(tmp_path / "file", source)], model, AugmenterSettings())
    assert list((tmp_path / "run" / "out").iterdir()) == []


def test_a_truncated_file_and_an_empty_one_are_named(tmp_path, model, make_records):
    path = tmp_path / "file"
    write_file(path, make_records(COUNTS))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(Exception, match="file: can't be read after record"):
        run(tmp_path / "run1", [str(path)], model, AugmenterSettings())
    with pytest.raises(Exception, match="empty: no records"):
        run(tmp_path / "run2", [write_file(tmp_path / "empty", [])], model, AugmenterSettings())


def test_a_translator_that_diverged_is_an_error(tmp_path, write_model, make_records):
    model = write_model(tmp_path / "nan", {(0, 1): lambda images: images * float("nan"), (1, 0): negative})
    with pytest.raises(Exception, match="0_to_1: its output has NaN or infinity"):
        run(
            tmp_path / "run",
            [write_file(tmp_path / "1", make_records([[2, 1], [0, 0]]))],
            model,
            AugmenterSettings(),
        )


def test_lost_records_are_noticed(tmp_path, model, make_records, monkeypatch):
    write = augment._write_shard

    def lossy(element, *args):
        shard, entries = element
        return write((shard, list(entries)[:-1]), *args)

    monkeypatch.setattr(augment, "_write_shard", lossy)
    with pytest.raises(Exception, match=r"\d+ of \d+ records came through Beam"):
        run(tmp_path / "run", [write_file(tmp_path / "1", make_records(COUNTS))], model, AugmenterSettings())
