import io
import pickle
from dataclasses import replace

import pytest
from PIL import ExifTags, Image

from model_patching.data.dataset import SPLITS
from model_patching.data.folder import FolderColumns, FolderSource
from model_patching.data.source import BadRecord, SourceError

COLUMNS = FolderColumns("bird", "place", "split")
HEADER = "filename,bird,place,split\n"


def encode(kind="PNG", size=(6, 4), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    """Writes a CSV file and the images that are named; returns the folder of images and the file."""

    def write(text, images=("a.png", "b.png"), encoding="utf-8"):
        folder = tmp_path / "images"
        for name in images:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(encode())
        file = tmp_path / "birds.csv"
        file.write_bytes(text.encode(encoding))
        return folder, file

    return write


def survey(source):
    return [item for part in source.parts() for item in source.survey(part)]


def test_rows_become_images_with_their_bytes(write):
    folder, file = write(HEADER + "a.png,land,water,train\nb.png,sea,land,test\n")
    source = FolderSource(folder, file, COLUMNS)
    assert source.name == "images"
    assert source.dataset.classes == ("land", "sea") and source.dataset.subgroups == ("land", "water")
    assert source.dataset.image_shape == (4, 6, 3)
    source = pickle.loads(pickle.dumps(source))  # as Beam's workers get it
    first, second = survey(source)
    assert (first.split, first.label, first.subgroup, first.example_id) == ("train", 0, 1, "a.png")
    assert (second.split, second.label, second.subgroup, second.example_id) == ("test", 1, 0, "b.png")
    assert (first.place, second.place) == (f"{file}, row 1", f"{file}, row 2")
    (part,) = source.parts()
    read = list(source.read(part))
    assert [image.image for image in read] == [encode(), encode()]


def test_columns_that_are_kept(write):
    header = "filename,bird,place,split,camera,iso\n"
    folder, file = write(header + "a.png,land,water,train,Leica,400\nb.png,sea,land,test,,100\n")
    source = FolderSource(folder, file, replace(COLUMNS, keep=("camera", "iso")))
    (part,) = source.parts()
    assert [image.further for image in source.read(part)] == [
        {"camera": "Leica", "iso": "400"},
        {"iso": "100"},
    ]
    assert source.settings()["columns"]["keep"] == ["camera", "iso"]
    with pytest.raises(SourceError, match="has no column 'lens'; its columns are filename, bird"):
        FolderSource(folder, file, replace(COLUMNS, keep=("lens",)))
    with pytest.raises(SourceError, match="'label' can't be kept: it is the name of a feature that every"):
        FolderSource(folder, file, replace(COLUMNS, keep=("label",)))


def test_quotes_names_beyond_ascii_and_a_byte_order_mark_are_read(write):
    names = ["Gänse/eine, zwei.png", 'Möwe "Ida".png', "鳥\n.png"]
    text = (
        '\ufeff"filename", bird,place,split\r\n'
        '"Gänse/eine, zwei.png",Gans, Küste ,train\r\n'
        '"Möwe ""Ida"".png",Möwe,"Wald, nass",train\r\n'
        "\r\n"
        '"鳥\n.png",鳥,Küste,train\r\n'
    )
    source = FolderSource(*write(text, names), COLUMNS)
    assert source.dataset.classes == ("Gans", "Möwe", "鳥")
    assert source.dataset.subgroups == ("Küste", "Wald, nass")
    found = survey(source)
    assert [image.example_id for image in found] == names
    # An empty line is counted, so that the numbers are those of a spreadsheet.
    assert [image.place.rpartition(" ")[2] for image in found] == ["1", "2", "4"]


def test_whole_numbers_are_classes_in_their_order_and_names_may_be_given(write):
    text = "path,y,z,s\n" + "".join(f"{y}.png,{y},{z},train\n" for y, z in [(10, "b"), (9, "a"), (-1, "b")])
    folder, file = write(text, ["10.png", "9.png", "-1.png"])
    columns = FolderColumns("y", "z", "s")
    source = FolderSource(folder, file, columns)
    assert source.dataset.classes == ("-1", "9", "10")
    assert [image.label for image in survey(source)] == [2, 1, 0]
    named = FolderColumns(
        "y", "z", "s", classes={"9": "low", "-1": "low", "10": "high"}, subgroups={"b": "B", "a": "A"}
    )
    source = FolderSource(folder, file, named)
    assert source.dataset.classes == ("low", "high") and source.dataset.subgroups == ("B", "A")
    assert [(image.label, image.subgroup) for image in survey(source)] == [(1, 0), (0, 1), (0, 0)]


def test_splits_have_many_names(write):
    values = ["train", "Training", "0", "val", "valid", "VALIDATION", "1", "Test", "2"]
    text = HEADER + "".join(f"{n}.png,c{n % 2},s{n % 2},{value}\n" for n, value in enumerate(values))
    folder, file = write(text, [f"{n}.png" for n in range(len(values))])
    found = [image.split for image in survey(FolderSource(folder, file, COLUMNS))]
    assert found == ["train"] * 3 + ["validation"] * 4 + ["test"] * 2
    only = FolderColumns("bird", "place", "split", splits={"val": "train", "valid": "test"})
    found = survey(FolderSource(folder, file, only))
    assert [item.split for item in found if not isinstance(item, BadRecord)] == ["train", "test"]
    assert found[0].reason == "column 'split' has 'train', which is none of 'val', 'valid'"


def test_splits_are_drawn_of_each_group_by_the_seed(write):
    rows = [(f"{n}.png", f"c{n % 2}", "s1" if n < 20 else "s0") for n in range(120)]
    folder, file = write("file,y,z\n" + "".join(f"{','.join(row)}\n" for row in rows), ["0.png"])
    columns = FolderColumns("y", "z", None, shares=(0.5, 0.3, 0.2))

    def splits(seed):
        source = FolderSource(folder, file, columns, seed)
        return [(row.split, row.label, row.subgroup) for row in source._rows]

    drawn = splits(1)
    for label in range(2):
        for subgroup, size in ((0, 50), (1, 10)):
            counts = [drawn.count((split, label, subgroup)) for split in SPLITS]
            assert counts == [size * share for share in (0.5, 0.3, 0.2)]
    assert drawn == splits(1) != splits(2)


@pytest.mark.parametrize("splits", [{"split": "s"}, {"split": None, "shares": (0.5, 0.25, 0.25)}])
def test_an_image_that_is_in_two_rows_is_in_one_split(write, splits):
    # Of other groups and splits, so that it would be drawn for each.
    rows = ["a.png,a,x,train", "b.png,b,y,train", "a.png,b,y,test", "d/../b.png,b,y,train", "c.png,a,x,test"]
    folder, file = write("file,y,z,s\n" + "\n".join(rows), ["a.png", "b.png", "c.png"])
    found = survey(FolderSource(folder, file, FolderColumns("y", "z", **splits)))
    assert found[2] == BadRecord(f"{file}, row 3", "'a.png' was in row 1 already")
    assert found[3] == BadRecord(f"{file}, row 4", "'b.png' was in row 2 already")
    assert [found[number].example_id for number in (0, 1, 4)] == ["a.png", "b.png", "c.png"]


def test_the_shape_is_that_of_the_first_image_that_can_be_opened_unless_it_is_given(write):
    folder, file = write(
        HEADER + "gone.png,a,x,train\nbad.png,b,y,train\ngrey.jpg,a,x,train\na.png,a,x,train\n"
    )
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "grey.jpg").write_bytes(encode("JPEG", (7, 5), "L"))
    assert FolderSource(folder, file, COLUMNS).dataset.image_shape == (5, 7, 1)
    assert FolderSource(folder, file, COLUMNS, channels=3).dataset.image_shape == (5, 7, 3)
    assert FolderSource(folder, file, COLUMNS, size=(8, 9)).dataset.image_shape == (8, 9, 1)
    (folder / "grey.jpg").unlink()
    (folder / "a.png").unlink()
    with pytest.raises(SourceError, match=rf"^{file}: no row has an image that can be opened in {folder}$"):
        FolderSource(folder, file, COLUMNS)


def test_absolute_paths_into_the_folder_are_taken(write, tmp_path, monkeypatch):
    text = (
        "file,y,z,s\n{0}/images/a.png,a,x,train\n{0}/images/d/../b.png,b,y,test\n{0}/images2/c.png,a,y,test\n"
    )
    folder, file = write(text.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    for images in (folder, "images", "link"):
        first, second, outside = survey(FolderSource(images, file, FolderColumns("y", "z", "s")))
        assert (first.example_id, second.example_id) == ("a.png", "b.png")
        assert outside.reason == f"'{tmp_path}/images2/c.png' leads out of the folder {images}"


def test_the_shape_of_a_photo_on_its_side_is_as_it_is_seen(write):
    folder, file = write(HEADER + "photo.jpg,a,x,train\na.png,b,y,train\n")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (6, 4)).save(folder / "photo.jpg", exif=exif)
    assert FolderSource(folder, file, COLUMNS).dataset.image_shape == (6, 4, 3)


@pytest.mark.parametrize(
    "row, reason",
    [
        ("gone.png,a,x,train", "there is no file 'gone.png' in {folder}"),
        ("../birds.csv,a,x,train", "'../birds.csv' leads out of the folder {folder}"),
        ("d/../../b.png,a,x,train", "'d/../../b.png' leads out of the folder {folder}"),
        ("/etc/passwd,a,x,train", "'/etc/passwd' leads out of the folder {folder}"),
        (",a,x,train", "column 'filename' has no path of an image"),
        ("b.png,,x,train", "column 'bird' has '', which is none of 'a', 'b'"),
        ("b.png,a,,train", "column 'place' has '', which is none of 'x', 'y'"),
        ("b.png,a,x,later", "column 'split' has 'later', which is none of 'train', "),
        ('"b\n.png",a,x,train', "there is no file 'b\\n.png' in {folder}"),
        ("b.png,a,x", "3 fields, but the header has 4"),
        ("b.png,a,x,train,", "5 fields, but the header has 4"),
    ],
)
def test_a_row_that_cannot_be_used_is_bad_and_the_others_are_read(write, row, reason):
    folder, file = write(HEADER + f"a.png,a,x,train\n{row}\nc.png,b,y,test\n", ["a.png", "b.png", "c.png"])
    source = FolderSource(folder, file, COLUMNS)
    first, bad, last = survey(source)
    assert bad.place == f"{file}, row 2"
    assert bad.reason.startswith(reason.format(folder=folder))
    assert (first.label, last.label) == (0, 1)
    (part,) = source.parts()
    assert isinstance(list(source.read(part))[1], BadRecord)
    assert source.inputs()["files"]["images"]


@pytest.mark.parametrize(
    "text, columns, message",
    [
        ("", COLUMNS, "{file}: is empty; a header and a row for each image are needed"),
        (HEADER, COLUMNS, "{file}: has no rows besides the header"),
        (
            "filename,bird\na.png,x\n",
            COLUMNS,
            "{file}: has no column 'place'; its columns are filename, bird",
        ),
        ("filename,bird,place,bird,split\n", COLUMNS, "{file}: has two columns 'bird'; its columns are "),
        (
            "picture,bird,place,split\n",
            COLUMNS,
            "{file}: has no column filename, file, path, image; say with --image-column which of its columns has the"
            " images' paths: picture, bird, place, split",
        ),
        (
            HEADER,
            FolderColumns("bird", "place", "split", image="picture"),
            "{file}: has no column 'picture'; its columns are ",
        ),
        (
            HEADER + "a.png,a,x,train\nb.png,a,y,train\n",
            COLUMNS,
            "{file}: column 'bird' has only 'a'; at least two classes are needed",
        ),
        (
            HEADER + "a.png,a,,train\nb.png,b,,train\n",
            COLUMNS,
            "{file}: column 'place' has nothing; at least two subgroups are needed",
        ),
        (
            HEADER + 'a.png,a,x,train\n"b.png,b,y,test\n',
            COLUMNS,
            "{file}, row 2: can't be read: unexpected end",
        ),
        (HEADER + "ä.png,a,x,train\n", COLUMNS, "{file}: is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_told_in_one_line(write, text, columns, message):
    folder, file = write(text, encoding="latin-1")
    with pytest.raises(SourceError) as caught:
        FolderSource(folder, file, columns)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_inputs_follow_the_content_of_the_images_and_not_their_place(write, tmp_path):
    text = HEADER + "a.png,a,x,train\nb.png,b,y,test\n"
    folder, file = write(text)
    inputs = FolderSource(folder, file, COLUMNS).inputs()
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert FolderSource(moved, file, COLUMNS).inputs() == inputs
    (moved / "b.png").write_bytes(encode()[:-1] + b"?")
    assert FolderSource(moved, file, COLUMNS).inputs() != inputs


def test_parts_have_a_bounded_number_of_rows(write):
    rows = "".join(f"{n}.png,{n % 2},{n % 2},train\n" for n in range(2001))
    source = FolderSource(*write(HEADER + rows, ["0.png"]), COLUMNS)
    sizes = [len(list(source.survey(part))) for part in source.parts()]
    assert sizes == [1000, 1000, 1]


def test_a_folder_that_cannot_be_read_is_told(write, tmp_path):
    _, file = write(HEADER + "a.png,a,x,train\n")
    with pytest.raises(SourceError, match=rf"^{tmp_path}/none: can't be read: No such file or directory$"):
        FolderSource(tmp_path / "none", file, COLUMNS)
    with pytest.raises(SourceError, match=rf"^{file}: can't be read: Not a directory$"):
        FolderSource(file, file, COLUMNS)
    with pytest.raises(SourceError, match=rf"^{tmp_path}/none.csv: can't be read: No such file"):
        FolderSource(tmp_path, tmp_path / "none.csv", COLUMNS)
