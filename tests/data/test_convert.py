import io
import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from PIL import Image

from model_patching.data import build, schema
from model_patching.data.build import BuildError
from model_patching.data.conversion import keys, layout
from model_patching.data.convert import conversion_inputs, convert
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.image_settings import ImageSettings
from model_patching.data.source import BadRecord, Source, SourceError, SourceImage

COUNTS = {
    "train": [[7, 1, 2], [3, 4, 5]],
    "validation": [[2, 1, 1], [1, 2, 1]],
    "test": [[1, 0, 1], [1, 1, 3]],
}


def png(number, height=4, width=4):
    """An image whose first pixel tells which one it is."""
    file = io.BytesIO()
    Image.fromarray(np.full((height, width), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def images():
    """As many as COUNTS says, of two classes and three subgroups."""
    made = []
    for split in SPLITS:
        for label, row in enumerate(COUNTS[split]):
            for subgroup, count in enumerate(row):
                for _ in range(count):
                    number = len(made)
                    made.append(SourceImage(split, label, subgroup, f"id-{number}", "", png(number)))
    return made


def interrupt(_):
    raise KeyboardInterrupt


@dataclass
class ListSource(Source):
    """Images of a list, in parts of equal size."""

    items: list = field(default_factory=images)
    num_parts: int = 3
    takes: dict = field(default_factory=dict)
    expected: dict | None = None
    when_read: object = None  # called with a part's name
    keeps_order: bool = False
    name = "list"
    dataset = Dataset(classes=("a", "b"), subgroups=("x", "y", "z"), image_shape=(4, 4, 1))

    def inputs(self):
        return {"items": repr(self.items), "takes": repr(self.takes)}

    def parts(self):
        return [f"part{number}" for number in range(self.num_parts)]

    def survey(self, part):
        items = np.array_split(np.array(self.items, object), self.num_parts)[int(part[4:])]
        for number, item in enumerate(items):
            yield replace(item, place=f"{part}, record {number}")

    def read(self, part):
        if self.when_read is not None:
            self.when_read(part)
        yield from self.survey(part)

    def expected_counts(self):
        return self.expected


class GrowingSource(ListSource):
    def read(self, part):
        yield from self.survey(part)
        yield from self.survey(part)


def changed(number, **changes):
    """The list of images with another one at a place."""
    made = images()
    made[number] = replace(made[number], **changes)
    return made


def records(folder, split):
    paths = sorted((folder / split).iterdir())
    return [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.gz") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "out"
    return folder, convert(ListSource(), folder, seed=1)


def test_every_image_becomes_a_record_of_its_split_with_its_bytes(built):
    folder, _ = built
    for split in SPLITS:
        expected = {image.example_id: image for image in images() if image.split == split}
        found = records(folder, split)
        assert len(found) == len(expected)
        for record in found:
            image = expected[record.example_id]
            assert (record.image, record.label, record.subgroup) == (image.image, image.label, image.subgroup)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_the_manifest_says_what_there_is(built):
    folder, manifest = built
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["counts"] == COUNTS
    assert manifest["name"] == "list"
    assert manifest["dataset"] == {
        "classes": ["a", "b"],
        "subgroups": ["x", "y", "z"],
        "image_shape": [4, 4, 1],
    }
    assert manifest["skipped"] == manifest["warnings"] == []
    assert manifest["citation"] is None and manifest["licence"] is None  # of one's own images
    assert list(manifest["files"]) == [f"{split}/data-00000-of-00001.tfrecord.gz" for split in sorted(SPLITS)]
    assert manifest["inputs"]["seed"] == 1
    assert manifest["inputs"]["image"] == ImageSettings().model_dump(mode="json")


def test_a_second_call_does_nothing(built):
    folder, manifest = built
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    told = []
    assert convert(ListSource(), folder, seed=1, progress=lambda *state: told.append(state)) == manifest
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    assert told == []
    with pytest.raises(BuildError, match="holds data made with other settings"):
        convert(ListSource(), folder, seed=2)


def test_the_order_follows_from_seed_and_ids_alone(built, tmp_path):
    folder, _ = built
    reversed_source = ListSource(images()[::-1], num_parts=5)
    convert(reversed_source, tmp_path / "same", seed=1)
    assert contents(tmp_path / "same") == contents(folder)
    convert(ListSource(), tmp_path / "other", seed=2)
    ids = {
        path: [record.example_id for record in records(path, "train")]
        for path in (folder, tmp_path / "other")
    }
    assert ids[folder] != ids[tmp_path / "other"]
    assert sorted(ids[folder]) == sorted(ids[tmp_path / "other"])
    assert ids[folder] != sorted(ids[folder], key=lambda name: int(name[3:]))


def test_files_have_a_bounded_number_of_records(built, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "RECORDS_PER_SHARD", 5)
    convert(ListSource(), tmp_path / "out", seed=1)
    files = sorted((tmp_path / "out" / "train").iterdir())
    assert [path.name for path in files] == [f"data-0000{i}-of-00005.tfrecord.gz" for i in range(5)]
    sizes = [len(list(schema.read_records([path]))) for path in files]
    assert sizes == [5, 5, 4, 4, 4]
    assert records(tmp_path / "out", "train") == records(built[0], "train")


def test_progress_goes_through_its_stages(tmp_path):
    told = []
    convert(ListSource(), tmp_path / "out", seed=1, progress=lambda *state: told.append(state))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["reading", "converting", "writing"]
    assert [state for state in told if state[1] == state[2]] == [
        ("reading", 3, 3), ("converting", 37, 37), ("writing", 37, 37)
    ]  # fmt: skip


def test_a_group_of_the_training_split_is_drawn_by_the_seed(tmp_path):
    many = [SourceImage("train", 0, 0, f"many-{number}", "", png(number)) for number in range(200)]
    taken = {}
    for seed in (1, 2):
        source = ListSource(images() + many, takes={(0, 0): 60, (1, 2): 100})
        manifest = convert(source, tmp_path / str(seed), seed)
        assert manifest["counts"] == {**COUNTS, "train": [[60, 1, 2], [3, 4, 5]]}
        order = [record.example_id for record in records(tmp_path / str(seed), "train")]
        taken[seed] = {name for name in order if name.startswith("many")}
        # What is drawn, 60 of the 75 records, doesn't stand at the beginning.
        assert taken[seed] & set(order[-7:])
    assert 5 < len(taken[1] & taken[2]) < 35  # 60 · 60 / 207 by chance


def test_images_are_brought_to_the_data_sets_shape(tmp_path):
    source = ListSource(changed(0, image=png(0, height=8, width=6)))
    convert(source, tmp_path / "out", 1, image=ImageSettings(resize=True))
    by_id = {record.example_id: record for record in records(tmp_path / "out", "train")}
    assert Image.open(io.BytesIO(by_id["id-0"].image)).size == (4, 4)
    assert by_id["id-1"].image == png(1)


# What can be wrong with an image, as a change of it.
BAD = {
    "label": ({"label": 7}, "label 7 is not between 0 and 1"),
    "subgroup": ({"subgroup": -1}, "subgroup -1 is not between 0 and 2"),
    "no image": ({"image": b"GIF89a"}, "the image is neither PNG nor JPEG"),
    "cut off": ({"image": png(1)[:40]}, "the image can't be decoded: "),
    "size": (
        {"image": png(1, height=5)},
        "image of another size: found 4 × 5 pixels, expected 4 × 4; to scale it: --resize or data.image.resize",
    ),
    "double": (
        {"example_id": "id-3"},
        "example_id 'id-3' comes twice in split 'train', first in part0, record 3",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_is_named_in_one_line_and_nothing_is_left(tmp_path, what):
    changes, reason = BAD[what]
    with pytest.raises(SourceError) as caught:
        convert(ListSource(changed(14, **changes)), tmp_path / "out", 1)
    assert str(caught.value).startswith(f"part1, record 1: {reason}")
    assert "\n" not in str(caught.value) and "[while running" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def many_bad():
    """All the kinds of bad images, in the order of BAD, and one that the source itself calls bad."""
    made = images()
    for number, (changes, _) in zip((5, 6, 14, 15, 16, 17), BAD.values(), strict=True):
        made[number] = replace(made[number], **changes)
    made[4] = BadRecord("", "feature 'image' is missing")
    return ListSource(made)


def test_bad_images_are_skipped_and_listed_as_far_as_that_is_allowed(tmp_path):
    manifest = convert(many_bad(), tmp_path / "out", 1, skip_bad=7)
    assert [bad["place"] for bad in manifest["skipped"]] == [
        f"part{part}, record {number}" for part, number in [(0, 4), (0, 5), (0, 6), (1, 1), (1, 2), (1, 3), (1, 4)]
    ]  # fmt: skip
    reasons = ["feature 'image' is missing", *(reason for _, reason in BAD.values())]
    for bad, reason in zip(manifest["skipped"], reasons, strict=True):
        assert bad["reason"].startswith(reason)
    # 4, 5 and 6 were of group (0, 0), 14 to 16 of (1, 1) after 13 of (1, 0), 17 of (1, 2).
    left = {"id-4", "id-5", "id-6", "id-14", "id-15", "id-16", "id-17"}
    expected = [image for image in images() if image.split == "train" and image.example_id not in left]
    found = records(tmp_path / "out", "train")
    assert {record.example_id for record in found} == {image.example_id for image in expected}
    assert sum(manifest["counts"]["train"], []) == [
        sum((image.label, image.subgroup) == (label, subgroup) for image in expected)
        for label in range(2)
        for subgroup in range(3)
    ]
    assert manifest["counts"]["test"] == COUNTS["test"]
    # The folder is there now, but fewer bad records than it left out are still too few.
    with pytest.raises(SourceError, match="^part1, record 4: example_id 'id-3' comes twice"):
        convert(many_bad(), tmp_path / "out", 1, skip_bad=6)


@pytest.mark.parametrize(
    "skip_bad, place", [(2, "part0, record 6"), (3, "part1, record 4"), (6, "part1, record 3")]
)
def test_one_bad_image_too_many_ends_the_build(tmp_path, skip_bad, place):
    # Survey finds three of the source and groups, then the double; the images that can't be used come to light last.
    with pytest.raises(SourceError) as caught:
        convert(many_bad(), tmp_path / "out", 1, skip_bad=skip_bad)
    assert str(caught.value).startswith(f"{place}: ")
    assert list(tmp_path.iterdir()) == []


def test_the_code_of_the_conversion_and_of_all_that_it_imports_counts(monkeypatch):
    hashed = []
    monkeypatch.setattr(build, "source_hash", lambda files: hashed.extend(path.name for path in files))
    conversion_inputs(ListSource(), seed=1)
    assert {"convert.py", "survey.py", "layout.py", "records.py", "write.py", "result.py"} < set(hashed)
    assert {"images.py", "pieces.py", "schema.py", "id_hash.py", "source.py"} < set(hashed)
    assert "test_convert.py" in hashed  # the reader
    assert "record_files.py" not in hashed  # other readers' affair


def test_ids_whose_hashes_are_equal_are_no_doubles(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "id_hash", lambda text: int(text[-1]))
    manifest = convert(ListSource(), tmp_path / "out", 1)
    assert manifest["counts"] == COUNTS
    found = [record.example_id for record in records(tmp_path / "out", "train")]
    assert found == sorted(found, key=lambda name: (name[-1], name))


def test_an_id_may_come_in_two_splits(tmp_path):
    made = images()
    first_of_test = next(number for number, image in enumerate(made) if image.split == "test")
    manifest = convert(ListSource(changed(first_of_test, example_id="id-0")), tmp_path / "out", 1)
    assert manifest["counts"] == COUNTS


def test_an_empty_split_is_named(tmp_path):
    made = [image for image in images() if image.split != "validation"]
    with pytest.raises(SourceError, match="^list: split 'validation' has no images$"):
        convert(ListSource(made), tmp_path / "out", 1)
    made.append(SourceImage("validation", 0, 0, "only", "", b"?"))
    with pytest.raises(SourceError, match="^list: split 'validation' has no images that can be read$"):
        convert(ListSource(made), tmp_path / "out", 1, skip_bad=1)
    assert list(tmp_path.iterdir()) == []


def fail(part):
    if part == "part1":
        raise SourceError("file.tfrec, record 3: the file is cut off here")


def test_a_source_that_fails_ends_the_build_even_where_bad_records_are_skipped(tmp_path):
    with pytest.raises(SourceError, match="^file.tfrec, record 3: the file is cut off here$"):
        convert(ListSource(when_read=fail), tmp_path / "out", 1, skip_bad=100)
    with pytest.raises(SourceError, match="^part0: has changed while it was being read$"):
        convert(GrowingSource(num_parts=1), tmp_path / "out", 1)
    with pytest.raises(KeyboardInterrupt):
        convert(ListSource(when_read=interrupt), tmp_path / "out", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_order_of_the_source_is_kept_where_it_is_asked_for(tmp_path):
    made = changed(1, label=9)
    made[2] = BadRecord("", "unreadable")
    made[3] = replace(made[3], image=b"?")
    source = ListSource(made, num_parts=2, keeps_order=True, takes={(0, 0): 1})
    convert(source, tmp_path / "out", 1, skip_bad=3)
    order = np.load(tmp_path / "out" / "source_order.npz")
    assert order["parts"].tolist() == ["part0", "part1"]
    codes = [SPLITS.index(image.split) * 6 + image.label * 3 + image.subgroup for image in images()]
    # An image that can't be decoded, or isn't taken, still has its place in its group.
    expected = [0, -1, -1, *codes[3:]]
    assert [*order["part_00000"].tolist(), *order["part_00001"].tolist()] == expected
    assert len(order["part_00000"]) == 19


def test_sizes_that_are_not_the_published_ones_are_a_warning(tmp_path):
    expected = {**COUNTS, "train": [[7, 1, 2], [30, 4, 5]]}
    manifest = convert(ListSource(expected=expected), tmp_path / "out", 1)
    assert manifest["warnings"] == ["group 'b / x' of train: 3 images, published are 30"]


@pytest.mark.parametrize(
    "argument, reason",
    [
        ("--direct_num_workers=x", "argument --direct_num_workers: invalid int value: 'x'"),
        ("--runner=NoRunner", "Unexpected pipeline runner: NoRunner"),
    ],
)
def test_wrong_options_of_beam_are_told_in_one_line(tmp_path, argument, reason):
    with pytest.raises(BuildError) as caught:
        convert(ListSource(), tmp_path / "out", 1, beam_pipeline_args=[argument])
    assert str(caught.value).startswith(f"Beam doesn't take its options: {reason}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
