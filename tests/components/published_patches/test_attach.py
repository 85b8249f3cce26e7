"""Published patched images beside their records, through Beam."""

import hashlib

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.published_patches.attach import AttachPatches
from model_patching.components.published_patches.find_order import sample_places
from model_patching.components.published_patches.folders import PatchesError
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.data import pieces, schema
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.beam_errors import plain_error
from model_patching.data.schema import Record, RecordError
from model_patching.data.source import SourceError

COUNTS = {"train": [[23, 9], [3, 12]], "test": [[5, 2], [1, 3]]}
FILES = (13, 2, 21, 9, 13)  # records of each source file


def attach(published, name="out", split="train", files=None, places_per_file=10, arguments=(), **settings):
    """Runs the pipeline; returns the folder of the new files."""
    out, scratch = published.folder / name, published.folder / f"{name}-scratch"
    out.mkdir()
    scratch.mkdir()
    settings = PatchingSettings(source="published", folder=str(published.patches), **settings)
    try:
        with beam.Pipeline(argv=list(arguments)) as pipeline:
            pipeline | AttachPatches(
                files or published.records[split],
                str(out),
                str(scratch),
                split,
                published.order,
                published.dataset,
                settings,
                places_per_file,
            )
    except Exception as error:
        plain = plain_error(error, (PatchesError, RecordError, SourceError))
        if plain is None:
            raise
        raise plain from None
    return out


def records(folder):
    """Those of each file."""
    return {
        path.name: [schema.deserialize(item) for item in schema.read_records([path]).as_numpy_iterator()]
        for path in sorted(folder.iterdir())
    }


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def error_of(published, **arguments):
    """The one line that the pipeline ends with."""
    with pytest.raises((PatchesError, RecordError, SourceError)) as caught:
        attach(published, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "files_at_once, splits, settings",
    [(3, ("train", "test"), {}), (1, ("train",), {}), (16, ("train",), {"files_read_at_once": 16})],
)
def test_every_record_gets_its_own_patched_images(publish, files_at_once, splits, settings):
    published = publish(COUNTS, FILES, files_at_once)
    for split in splits:
        found = records(attach(published, name=split, split=split, **settings))
        source = {}
        for path in published.records[split]:
            for item in schema.read_records([path]).as_numpy_iterator():
                record = schema.deserialize(item)
                source[record.example_id] = record
        together = [record for of_file in found.values() for record in of_file]
        assert len(together) == len(source) == np.sum(COUNTS[split])
        for record in together:
            before = source[record.example_id]
            expected = published.expected[record.example_id]
            # The JPEGs themselves, and nothing else has changed.
            assert record == Record(before.image, before.label, before.subgroup, before.example_id, expected)
        if split == "train":
            assert [len(of_file) for of_file in found.values()] == [10, 10, 3, 9, 3, 10, 2]


def test_bytes_do_not_depend_on_files_or_workers(publish, write_records, tmp_path, monkeypatch):
    turn_off_timed_flush()
    published = publish(COUNTS, FILES, 3)
    first = contents(attach(published, "one"))
    items = list(schema.read_records(published.records["train"]).as_numpy_iterator())
    files = [write_records(tmp_path / "other" / str(i), items[::-1][i::3]) for i in range(3)]
    threads = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    monkeypatch.setattr(pieces, "CHUNK", 1000)  # bytes: a few records, so that a file comes in several pieces
    assert contents(attach(published, "two", files=files, arguments=threads)) == first


def test_only_the_first_records_of_a_group_can_have_patched_images(publish):
    published = publish(COUNTS, FILES, 3, take=11)
    together = [record for of_file in records(attach(published)).values() for record in of_file]
    found = {record.example_id: record.patched_images for record in together}
    assert len(found) == 11 + 9 + 3 + 12
    # `expected` has the records of both splits that were patched, and no others.
    of_test = {
        schema.deserialize(item).example_id
        for item in schema.read_records(published.records["test"]).as_numpy_iterator()
    }
    assert found == {name: images for name, images in published.expected.items() if name not in of_test}


def test_records_drawn_from_a_group_are_not_its_first(publish, write_records):
    published = publish(COUNTS, FILES, 3, take=11)
    items = list(schema.read_records(published.records["train"]).as_numpy_iterator())
    drawn = [item for item in items if schema.deserialize(item).example_id in published.expected]
    first = [item for item in drawn if (r := schema.deserialize(item)).label == r.subgroup == 0]
    others = [item for item in items if item not in drawn]
    kept = [item for item in items if item not in [*first[:4], *others[3:]]]
    assert len(first) == 11 and len(others) == 12
    file = write_records(published.folder / "drawn", kept)
    assert error_of(published, files=[file]) == (
        f"{published.pair('train', 0, 0, 11)[0]}: has patched images of the first 11 records of group "
        "'landbird / land' of the train split; of these 7 were built, and 3 others: build the records with --take none"
    )
    # A subset of those that have patched images is fine.
    file = write_records(published.folder / "subset", [item for item in drawn if item not in first[:4]])
    assert sum(map(len, records(attach(published, "subset-out", files=[file])).values())) == 7 + 9 + 3 + 12


def test_a_wrong_order_is_refused_unless_nothing_is_asked_for(publish):
    published = publish(COUNTS, FILES, 3)
    message = error_of(published, files_read_at_once=2)
    assert "the order seems wrong: only " in message
    assert "2 files read at once; with patching.files_read_at_once 3 it is " in message
    wrong = records(attach(published, "unchecked", files_read_at_once=2, min_resemblance=0.0))
    assert any(
        record.patched_images != published.expected[record.example_id]
        for of_file in wrong.values()
        for record in of_file
    )


def test_images_in_no_order_are_refused(publish, rewrite):
    published = publish({"train": [[23, 9], [3, 12]]}, (47,), 1)
    for folder in published.pair("train", 0, 0):
        for path in folder.iterdir():
            rewrite(path, lambda read: read[1:] + read[:1])
    message = error_of(published)
    assert message.startswith(str(published.pair("train", 0, 0)[0])) and "only 0% of its images" in message
    assert "no other number does better" in message


@pytest.mark.parametrize("split, more", [("train", -1), ("test", 1)])
def test_one_image_too_few_or_too_many(publish, rewrite, split, more):
    published = publish(COUNTS, FILES, 3)
    folder = published.pair(split, 0, 1)[1]
    rewrite(max(folder.iterdir()), lambda read: (read * 2)[: len(read) + more])
    expected = COUNTS[split][0][1]
    assert error_of(published, split=split) == (
        f"{folder}: {expected + more} patched images, but they must be those of {expected} records, group "
        f"'landbird / water' of the {split} split"
    )


def test_a_label_that_disagrees(publish, rewrite):
    published = publish(COUNTS, FILES, 3)
    path = published.pair("train", 1, 0)[0] / "00-7.tfrec"
    rewrite(path, lambda read: [*read[:2], (read[2][0], 0)])
    assert error_of(published) == f"{path}, record 2: label 0, but the folder is of label 1, 'waterbird'"


@pytest.mark.parametrize("shape", [(8, 16, 3), (16, 16, 1)])
def test_an_image_of_another_size_or_without_colours(publish, rewrite, shape):
    published = publish({"train": [[40, 2], [2, 2]]}, (46,), 1)
    path = published.pair("train", 0, 0)[1] / "02-7.tfrec"
    place = next(
        place for place in range(14, 21) if place not in sample_places(40)
    )  # which is looked at earlier
    other = tf.image.encode_jpeg(np.zeros(shape, np.uint8)).numpy()
    rewrite(path, lambda read: [*read[: place - 14], (other, 0), *read[place - 13 :]])
    assert error_of(published) == (
        f"{path}, record {place - 14}: bad image: Shape of tensor input [{','.join(map(str, shape))}] is not "
        "compatible with expected shape [16,16,3]."
    )


def test_a_file_that_is_cut_off(publish):
    published = publish(COUNTS, FILES, 3)
    path = published.pair("train", 0, 0)[0] / "01-7.tfrec"
    path.write_bytes(path.read_bytes()[:-10])
    assert error_of(published) == f"{path}, record 6: the file is cut off here"


def test_bad_records_of_the_data_set_are_named(publish, write_records):
    published = publish(COUNTS, FILES, 3)
    items = list(schema.read_records(published.records["train"]).as_numpy_iterator())
    one = schema.deserialize(items[7])
    twice = write_records(published.folder / "twice", [*items, items[7]])
    assert error_of(published, name="a", files=[twice]) == (
        f"{twice}, record 47: example_id '{one.example_id}' comes twice in the split, first in {twice}, record 7"
    )
    other = schema.serialize(Record(one.image, one.label, 1 - one.subgroup, one.example_id))
    file = write_records(published.folder / "other", [items[0], other])
    assert error_of(published, name="b", files=[file]).startswith(
        f"{file}, record 1: '{one.example_id}' is no record of group "
    )
