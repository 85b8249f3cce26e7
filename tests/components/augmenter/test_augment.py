import hashlib
import tracemalloc
import zlib
from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.augmenter import augment, translators
from model_patching.components.augmenter.augment import PatchSplit
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.translators import SharedTranslators, plan_translators
from model_patching.data import pieces, schema
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.dataset import Dataset
from model_patching.data.id_hash import id_hash
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
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    shared = SharedTranslators(plan_translators([model], TWO), TWO, settings)
    with beam.Pipeline(argv=list(args)) as pipeline:
        pipeline | PatchSplit(files, str(folder / "out"), str(folder / "scratch"), shared, TWO, settings)
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
    source = [
        replace(record, further={"camera": schema.feature(f"camera of {record.example_id}")})
        for record in make_records(COUNTS)
    ]
    files = [write_file(tmp_path / "1", source[:15]), write_file(tmp_path / "2", source[15:])]
    out = shards(run(tmp_path / "run", files, model, AugmenterSettings(batch_size=100)))
    assert list(out) == [f"data-0000{i}-of-00004.tfrecord.gz" for i in range(4)]
    found = sum(out.values(), [])
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


def test_batches_are_those_of_the_documented_order(tmp_path, model, make_records):
    settings = AugmenterSettings(batch_size=4, records_per_shard=8)
    out = shards(run(tmp_path / "run", [write_file(tmp_path / "1", make_records(COUNTS))], model, settings))
    found = sum(out.values(), [])

    # By hand: group (0, 0) has 23 records, so 6 batches, one of 3 and five of 4, in the order of the ids' hashes.
    group = [record for record in found if (record.label, record.subgroup) == (0, 0)]
    group.sort(key=lambda r: hashlib.blake2b(r.example_id.encode(), digest_size=8).digest())
    starts = [0, 4, 8, 12, 16, 20, 23]
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        batch = group[start:end]
        mean = np.mean([pixels(record.image) for record in batch], axis=0)
        for record in batch:
            assert np.abs(pixels(record.patched_images[1]) - mean).max() <= 0.51


def test_bytes_do_not_depend_on_files_order_or_workers(tmp_path, model, make_records, monkeypatch):
    turn_off_timed_flush()
    settings = AugmenterSettings(batch_size=4, records_per_shard=8)
    source = make_records(COUNTS)
    one = [write_file(tmp_path / "a", source)]
    three = [write_file(tmp_path / f"b{i}", source[::-1][i::3]) for i in range(3)]
    threads = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    first = contents(run(tmp_path / "run1", one, model, settings))
    assert len(first) == 7  # of 23, 2, 3 and 12 records
    assert contents(run(tmp_path / "run2", three, model, settings)) == first
    assert contents(run(tmp_path / "run3", three, model, settings, *threads)) == first
    monkeypatch.setattr(pieces, "CHUNK", 1000)  # bytes: a few records, so that a file comes in several pieces
    assert contents(run(tmp_path / "run4", one, model, settings)) == first


def test_files_are_sorted_and_of_one_group(tmp_path, model, make_records):
    settings = AugmenterSettings(batch_size=1, records_per_shard=2)
    source = make_records([[3, 2], [2, 0]])
    out = shards(run(tmp_path / "run", [write_file(tmp_path / "1", source)], model, settings))
    assert list(out) == [f"data-{i:05d}-of-00004.tfrecord.gz" for i in range(4)]
    assert [[(r.label, r.subgroup) for r in records] for records in out.values()] == [
        [(0, 0), (0, 0)],
        [(0, 0)],
        [(0, 1), (0, 1)],
        [(1, 0), (1, 0)],
    ]
    hashes = [id_hash(record.example_id) for records in list(out.values())[:2] for record in records]
    assert hashes == sorted(hashes)


def test_the_translators_are_loaded_once_for_all_splits_and_threads(
    tmp_path, model, make_records, monkeypatch
):
    turn_off_timed_flush()
    loaded = []
    load = translators.load_translator
    monkeypatch.setattr(translators, "load_translator", lambda path: loaded.append(path) or load(path))
    settings = AugmenterSettings()
    shared = SharedTranslators(plan_translators([model], TWO), TWO, settings)
    file = write_file(tmp_path / "1", make_records(COUNTS))
    with beam.Pipeline(argv=["--direct_num_workers=2", "--direct_running_mode=multi_threading"]) as pipeline:
        for split in ("a", "b"):
            (tmp_path / split).mkdir()
            out = str(tmp_path / split)
            pipeline | split >> PatchSplit([file], out, str(tmp_path), shared, TWO, settings)
    assert sorted(path[-6:] for path in loaded) == ["0_to_1", "1_to_0"]
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != {}


def test_memory_holds_the_records_of_one_output_file(tmp_path, model, make_records, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK", 10**6)
    # 20 kB behind the end of the PNG, where nobody looks: 2,000 records of 20 kB, 100 in a file.
    source = [replace(r, image=r.image + bytes(20_000)) for r in make_records([[1000, 200], [200, 600]])]
    file = write_file(tmp_path / "1", source)
    del source
    tracemalloc.start()
    out = run(tmp_path / "run", [file], model, AugmenterSettings(batch_size=50, records_per_shard=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(list(out.iterdir())) == 20
    assert peak < 20e6  # of 40e6 that were read and written


def bad_size(record):
    return Record(tf.io.encode_png(np.zeros((4, 5, 1), np.uint8)).numpy(), 0, 0, record.example_id)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda record: b"\xff\xff", "file, record 7: not a serialized tf.train.Example"),
        (lambda record: Record(record.image, 2, 0, "x"), "file, record 7: label 2 is not between 0 and 1"),
        (
            lambda record: Record(b"GIF?", 0, 0, "x"),
            "file, record 7, 'x': bad image: .*Unknown image file format",
        ),
        (bad_size, r"file, record 7, 'example.*': bad image: .*\[4,5,1\] is not compatible.*\[4,4,1\]"),
        (
            lambda record: Record(record.image, 1, 1, "example-0-0-0000"),
            "file, record 7: example_id 'example-0-0-0000' comes twice in the split, first in .*file, record 0",
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
    with pytest.raises(Exception, match=r"file, record \d+: can't be read: "):
        run(tmp_path / "run1", [str(path)], model, AugmenterSettings())
    with pytest.raises(Exception, match="empty: no records"):
        run(tmp_path / "run2", [write_file(tmp_path / "empty", [])], model, AugmenterSettings())


def test_a_file_cut_off_between_two_records_is_named(tmp_path, model, make_records):
    records = [schema.serialize(record) for record in make_records(COUNTS)]
    path = tmp_path / "file"
    plain = tmp_path / "plain"
    with tf.io.TFRecordWriter(str(plain)) as writer:
        for record in records[:30]:
            writer.write(record)
    compressor = zlib.compressobj(wbits=31)
    path.write_bytes(compressor.compress(plain.read_bytes()) + compressor.flush(zlib.Z_SYNC_FLUSH))
    with pytest.raises(Exception, match="file: the file is cut off after 30 records"):
        run(tmp_path / "run", [str(path)], model, AugmenterSettings())


def test_a_translator_that_diverged_is_an_error(tmp_path, write_model, make_records):
    model = write_model(tmp_path / "nan", {(0, 1): lambda images: images * float("nan"), (1, 0): negative})
    with pytest.raises(Exception, match="0_to_1: its output has NaN or infinity"):
        run(
            tmp_path / "run",
            [write_file(tmp_path / "1", make_records([[2, 1], [0, 0]]))],
            model,
            AugmenterSettings(),
        )


def lose_a_survey(monkeypatch):
    monkeypatch.setattr(beam.combiners, "ToList", lambda: beam.combiners.Sample.FixedSizeGlobally(1))


def lose_a_piece(monkeypatch):
    sort = augment._sort
    monkeypatch.setattr(augment, "_sort", lambda *args: list(sort(*args))[1:])


def lose_a_file(monkeypatch):
    process = augment._PatchFile.process
    lossy = lambda self, element, layout: [n for n in process(self, element, layout) if n != 2]  # noqa: E731
    monkeypatch.setattr(augment._PatchFile, "process", lossy)


@pytest.mark.parametrize(
    "lose, what",
    [
        (lose_a_survey, "1 of 2 surveys of files"),
        (lose_a_piece, r"\d+ of \d+ records of an output file"),
        (lose_a_file, "3 of 4 output files"),
    ],
)
def test_a_loss_on_the_way_is_noticed(tmp_path, model, make_records, monkeypatch, lose, what):
    lose(monkeypatch)
    source = make_records(COUNTS)
    files = [write_file(tmp_path / f"{part}", source[part::2]) for part in range(2)]
    with pytest.raises(Exception, match=f"only {what} came through Beam"):
        run(tmp_path / "run", files, model, AugmenterSettings())
