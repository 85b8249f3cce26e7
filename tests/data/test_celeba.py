import pytest

from model_patching.data.celeba import CelebaFolder, CelebaRecords, Task, celeba
from model_patching.data.source import BadRecord, SourceError

NAMES = ["Bald", "Blond_Hair", "Male", "No_Beard"]
# As in the official lists: image, its partition, and -1 or 1 for each of the names.
FACES = [
    ("000001.jpg", 0, [-1, 1, -1, 1]),
    ("000002.jpg", 1, [-1, -1, 1, -1]),
    ("000003.jpg", 2, [1, 1, 1, 1]),
    ("000004.jpg", 0, [-1, -1, -1, 1]),
]
PUBLISHED = {
    "train": [{"Blond_Hair"}, {"Male", "Young"}, set()],
    "val": [{"Blond_Hair", "Male"}],
    "test": [{"Young"}, {"Male"}],
}


@pytest.fixture
def official(tmp_path, one_colour):
    """Writes the layout of CelebA's makers to a folder; returns it."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for number, (file, _, _) in enumerate(FACES):
        (folder / "img_align_celeba" / file).write_bytes(one_colour(number, height=218, width=178))
    lines = [f"{file} {' '.join(f'{value:2}' for value in values)}" for file, _, values in FACES]
    (folder / "list_attr_celeba.txt").write_text(
        f"{len(FACES)}\n{' '.join(NAMES)} \n" + "\n".join(lines) + "\n"
    )
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{file} {partition}\n" for file, partition, _ in FACES)
    )
    return folder


@pytest.fixture
def published(tmp_path, write_celeba):
    return write_celeba(tmp_path / "celeba", PUBLISHED, {"train": [2, 1], "val": [1], "test": [2]})


def groups(source):
    return [
        (image.example_id, image.split, image.label, image.subgroup)
        for part in source.parts()
        for image in source.read(part)
    ]


def test_the_published_records(published):
    source = celeba(published, Task())
    assert isinstance(source, CelebaRecords)
    assert source.keeps_order
    assert source.parts() == ["train/00-2.tfrec", "train/01-1.tfrec", "val/00-1.tfrec", "test/00-2.tfrec"]
    assert groups(source) == [
        ("train/00-2-000000", "train", 1, 0),
        ("train/00-2-000001", "train", 0, 1),
        ("train/01-1-000000", "train", 0, 0),
        ("val/00-1-000000", "validation", 1, 1),
        ("test/00-2-000000", "test", 0, 0),
        ("test/00-2-000001", "test", 0, 1),
    ]


def test_any_attribute_of_the_published_records(published):
    source = celeba(published, Task(label="Young", subgroup="Male"))
    assert [(label, subgroup) for _, _, label, subgroup in groups(source)] == [
        *((0, 0), (1, 1), (0, 0)),
        (0, 1),
        *((1, 0), (0, 1)),
    ]
    assert source.dataset.group_names == (
        "not young / female",
        "not young / male",
        "young / female",
        "young / male",
    )


def test_attributes_of_records_that_are_minus_one(tmp_path, write_tfrec, one_colour):
    for split in ("train", "val", "test"):
        examples = [
            {"image": one_colour(0), "Blond_Hair": -1, "Male": 1},
            {"image": one_colour(0), "Blond_Hair": 2, "Male": -1},
        ]
        write_tfrec(tmp_path / split / "00.tfrec", examples)
    found = groups(celeba(tmp_path, Task()))[:2]
    assert [group[2:] for group in found] == [(0, 1), (2, 0)]  # 2 is for the conversion to refuse


def test_a_record_without_an_attribute(tmp_path, write_tfrec, one_colour):
    for split in ("train", "val", "test"):
        write_tfrec(tmp_path / split / "00.tfrec", [{"image": one_colour(0), "Blond_Hair": 0}])
    (bad,) = celeba(tmp_path, Task()).survey("val/00.tfrec")
    assert bad == BadRecord(f"{tmp_path}/val/00.tfrec, record 0", "feature 'Male' is missing")


def test_a_split_without_records(published):
    (published / "val" / "00-1.tfrec").unlink()
    with pytest.raises(SourceError, match=f"{published}/val: no .tfrec files"):
        celeba(published, Task())


def test_the_official_lists(official, one_colour):
    source = celeba(official, Task())
    assert isinstance(source, CelebaFolder)
    assert not source.keeps_order
    assert groups(source) == [
        ("000001.jpg", "train", 1, 0),
        ("000002.jpg", "validation", 0, 1),
        ("000003.jpg", "test", 1, 1),
        ("000004.jpg", "train", 0, 0),
    ]
    assert next(source.read("0")).image == one_colour(0, height=218, width=178)
    bald = celeba(official, Task(label="Bald", subgroup="No_Beard"))
    assert [group[2:] for group in groups(bald)] == [(0, 1), (0, 0), (1, 1), (0, 1)]
    assert bald.dataset.classes == ("not bald", "bald")
    assert bald.dataset.subgroups == ("beard", "no beard")


def test_attributes_that_are_kept(published):
    source = celeba(published, Task(keep=("Young",)))
    further = [image.further for part in source.parts() for image in source.read(part)]
    assert further == [{"Young": young} for young in (0, 1, 0, 0, 1, 0)]
    with pytest.raises(SourceError, match="CelebA has no attribute 'Yung': did you mean Young"):
        Task(keep=("Yung",))


def test_lists_with_attributes_that_are_kept(official):
    source = celeba(official, Task(keep=("Bald", "No_Beard")))
    further = [image.further for part in source.parts() for image in source.read(part)]
    assert [tuple(one.values()) for one in further] == [(0, 1), (0, 0), (1, 1), (0, 1)]
    assert source.settings()["keep"] == ["Bald", "No_Beard"]


def test_a_long_list_is_read_in_parts(official, monkeypatch):
    whole = groups(celeba(official, Task()))
    monkeypatch.setattr("model_patching.data.listed_images.ROWS_PER_PART", 3)
    source = celeba(official, Task())
    assert source.parts() == ["0", "3"]
    assert groups(source) == whole
    assert next(source.survey("3")).place == f"{official}/list_attr_celeba.txt, row 4"


def test_the_layout_is_told_by_what_is_there(tmp_path, published):
    assert isinstance(celeba(published.rename(tmp_path / "celeba_tfrecord_128"), Task()), CelebaRecords)
    assert isinstance(celeba(tmp_path, Task()), CelebaRecords)
    with pytest.raises(SourceError) as error:
        celeba(tmp_path / "celeba_tfrecord_128" / "train", Task())
    assert str(error.value) == (
        f"{tmp_path}/celeba_tfrecord_128/train: no CelebA there: expected train/, val/, test/ with *.tfrec files "
        "(celeba_tfrecord_128), or img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt"
    )


def test_what_is_taken_of_the_training_groups():
    assert Task().taken == {(0, 0): 4054}
    assert Task().expected_counts()["train"] == [[4054, 66874], [22880, 1387]]
    assert Task(takes={}).taken == {}
    assert Task(takes={}).expected_counts()["train"] == [[71629, 66874], [22880, 1387]]
    several = Task(takes={(0, 1): 10, (1, 1): 2000})
    assert several.expected_counts()["train"] == [[71629, 10], [22880, 1387]]
    assert several.expected_counts()["validation"] == [[8535, 8276], [2874, 182]]
    assert Task(label="Young").taken == {}
    assert Task(label="Young").expected_counts() is None
    assert Task(label="Male", subgroup="Blond_Hair").expected_counts() is None


def test_the_names_of_the_presets():
    assert Task().dataset.classes == ("not blond", "blond")
    assert Task().dataset.subgroups == ("female", "male")
    assert Task().dataset.image_shape == (128, 128, 3)
    assert Task(subgroup="Wavy_Hair").dataset.subgroups == ("not wavy hair", "wavy hair")


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        (
            {"label": "Blonde_hair"},
            "CelebA has no attribute 'Blonde_hair': did you mean Blond_Hair or Brown_Hair or Black_Hair?",
        ),
        ({"subgroup": "male"}, "CelebA has no attribute 'male': did you mean Male?"),
        ({"subgroup": "Xyz"}, "CelebA has no attribute 'Xyz': it has 5_o_Clock_Shadow, Arched_Eyebrows"),
        ({"label": "Male"}, "class and subgroup are both 'Male': give two attributes"),
    ],
)
def test_a_wrong_attribute(attributes, says):
    with pytest.raises(SourceError) as error:
        Task(**attributes)
    assert str(error.value).startswith(says)


def test_inputs_tell_the_task(official):
    inputs = celeba(official, Task()).inputs()
    assert inputs == celeba(official, Task(takes={(0, 0): 4054})).inputs()
    others = [Task(takes={}), Task(label="Bald"), Task(subgroup="Bald"), Task(image_size=64)]
    assert all(celeba(official, task).inputs() != inputs for task in others)
    assert sorted(inputs["files"]) == ["images", "list_attr_celeba.txt", "list_eval_partition.txt"]


def replace(path, old, new):
    content = path.read_text()
    assert content.count(old) == 1
    path.write_text(content.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            *("list_attr_celeba.txt", "4\n", "5\n"),
            "list_attr_celeba.txt: 4 rows of images, but its first line says 5",
        ),
        (
            *("list_attr_celeba.txt", "Male", "Mail"),
            "list_attr_celeba.txt: its second line names no attribute Male",
        ),
        (
            *("list_eval_partition.txt", "000004.jpg 0\n", ""),
            "list_eval_partition.txt: 3 rows, but {folder}/list_attr_celeba.txt has 4",
        ),
        (
            *("list_eval_partition.txt", "000003.jpg 2", "000033.jpg 2"),
            "list_eval_partition.txt, row 3: 000033.jpg, but {folder}/list_attr_celeba.txt has 000003.jpg in this row",
        ),
    ],
)
def test_lists_that_cant_be_used_are_named(official, file, old, new, says):
    replace(official / file, old, new)
    with pytest.raises(SourceError) as error:
        celeba(official, Task())
    assert str(error.value) == f"{official}/{says.format(folder=official)}"


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (
            *("list_attr_celeba.txt", "000002.jpg -1 -1  1 -1", "000002.jpg -1 -1  1"),
            "000002.jpg has 3 attributes, but 4 are named",
        ),
        (
            *("list_attr_celeba.txt", "000002.jpg -1 -1", "000002.jpg -1 7"),
            "000002.jpg has 7 for Blond_Hair: expected 1 or -1",
        ),
        (
            *("list_eval_partition.txt", "000002.jpg 1", "000002.jpg 3"),
            "000002.jpg is of partition '3' in {folder}/list_eval_partition.txt: expected 0, 1 or 2",
        ),
    ],
)
def test_a_bad_row_is_named_and_the_next_ones_are_read(official, file, old, new, reason):
    replace(official / file, old, new)
    source = celeba(official, Task())
    first, bad, *rest = source.read("0")
    assert bad == BadRecord(f"{official}/list_attr_celeba.txt, row 2", reason.format(folder=official))
    assert (first.example_id, len(rest)) == ("000001.jpg", 2)
    assert list(source.survey("0"))[1] == bad


def test_an_image_that_is_missing(official):
    (official / "img_align_celeba" / "000003.jpg").unlink()
    source = celeba(official, Task())
    bad = BadRecord(
        f"{official}/list_attr_celeba.txt, row 3",
        f"there is no file '000003.jpg' in {official}/img_align_celeba",
    )
    assert list(source.survey("0"))[2] == bad
    assert list(source.read("0"))[2].place == bad.place


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("img_align_celeba", "no such folder"),
        ("list_eval_partition.txt", "can't be read: No such file or directory"),
    ],
)
def test_what_the_official_folder_lacks(official, name, says):
    (official / name).rename(official / "elsewhere")
    with pytest.raises(SourceError, match=f"{official}/{name}: {says}"):
        celeba(official, Task())
