"""`model-patching translate` with translators whose arithmetic can be done by hand."""

import json
import resource

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model_patching.data.schema import to_float
from model_patching.pipelines import cli

SUBGROUPS = ["clean", "zigzag"]


class _Translator(tf.Module):
    """Halves the images; or takes the batch's mean image away, as one that normalizes over the batch would."""

    def __init__(self, kind, shape):
        super().__init__()
        self._kind = kind
        self._factor = tf.Variable(0.5)
        self.serve = tf.function(self._serve, input_signature=[tf.TensorSpec([None, *shape], tf.float32)])

    def _serve(self, images):
        if self._kind == "halve":
            return images * self._factor
        if self._kind == "centre":
            return images - tf.reduce_mean(images, axis=0)
        return images / tf.zeros_like(images)


@pytest.fixture
def make_model(tmp_path):
    """A function that writes a model of translators; clean → zigzag is of `kind`, the way back halves."""

    def make(kind="halve", shape=(4, 6, 1), batch_size=8, normalizes_over_batch=False):
        folder = tmp_path / "model"
        for name, kind_of_it in (("0_to_1", kind), ("1_to_0", "halve")):
            tf.saved_model.save(_Translator(kind_of_it, shape), str(folder / "translators" / name))
        description = {
            "label": None,
            "classes": ["even", "odd"],
            "subgroups": SUBGROUPS,
            "image_shape": shape,
            "pairs": [[0, 1], [1, 0]],
            "translate_batch_size": batch_size,
            "normalizes_over_batch": normalizes_over_batch,
        }
        (folder / "translators.json").write_text(json.dumps(description))
        return folder

    return make


@pytest.fixture
def translate(capfd):
    """A function that runs the command; returns exit code, lines on standard output and on standard error."""

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(["translate", *map(str, arguments)])
        output, error = capfd.readouterr()
        return stop.value.code or 0, output.splitlines(), error.splitlines()

    return call


def _write(path, pixels):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def _grey(seed, height=4, width=6):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def _halved(pixels):
    """0.5 · x on the scale of −1 to 1, in grey levels."""
    return np.rint((pixels / 127.5 - 1) / 2 * 127.5 + 127.5).astype(np.uint8)


def test_writes_a_png_for_each_image(tmp_path, make_model, translate):
    images = [_write(tmp_path / "in" / name, _grey(seed)) for seed, name in enumerate(("a.png", "b.c.png"))]
    code, lines, errors = translate(
        make_model(), *images, "--to", "zigzag", "--output", tmp_path / "new" / "out"
    )
    out = tmp_path / "new" / "out"
    assert (code, errors) == (0, [])
    assert lines == [f"{out}/a.zigzag.png", f"{out}/b.c.zigzag.png"]
    assert sorted(path.name for path in out.iterdir()) == ["a.zigzag.png", "b.c.zigzag.png"]
    for seed, line in enumerate(lines):
        with Image.open(line) as found:
            assert (found.format, found.mode) == ("PNG", "L")
            np.testing.assert_array_equal(np.asarray(found), _halved(_grey(seed)))
    np.testing.assert_array_equal(np.asarray(Image.open(images[0])), _grey(0))


def test_without_output_the_working_directory_gets_the_results(tmp_path, make_model, translate, monkeypatch):
    image = _write(tmp_path / "in" / "a.png", _grey(0))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "a.clean.png").write_text("an older result")
    code, lines, _ = translate(make_model(), image, "--to", "clean", "--from", "zigzag")
    assert (code, lines) == (0, ["a.clean.png"])
    np.testing.assert_array_equal(np.asarray(Image.open("a.clean.png")), _halved(_grey(0)))


def test_grey_and_colour_become_what_the_model_takes(tmp_path, make_model, translate):
    grey = _write(tmp_path / "grey.png", _grey(0))
    (line,) = translate(make_model(shape=(4, 6, 3)), grey, "--to", "zigzag", "--output", tmp_path)[1]
    np.testing.assert_array_equal(np.asarray(Image.open(line)), np.dstack([_halved(_grey(0))] * 3))

    colour = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    path = _write(tmp_path / "colour.png", colour)
    (line,) = translate(make_model(), path, "--to", "zigzag", "--output", tmp_path)[1]
    luminance = colour @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    np.testing.assert_allclose(np.asarray(Image.open(line)), _halved(luminance), atol=1)


def test_a_jpeg(tmp_path, make_model, translate):
    path = tmp_path / "a.JPG"
    Image.new("L", (6, 4), 200).save(path, "JPEG")
    (line,) = translate(make_model(), path, "--to", "zigzag", "--output", tmp_path)[1]
    assert line == f"{tmp_path}/a.zigzag.png"
    np.testing.assert_allclose(np.asarray(Image.open(line)), _halved(np.full((4, 6), 200)), atol=1)


def test_images_share_batches_in_the_order_given(tmp_path, make_model, translate):
    images = [_write(tmp_path / f"{name}.png", _grey(seed)) for seed, name in enumerate("dcab")]
    model = make_model("centre", batch_size=3, normalizes_over_batch=True)
    code, lines, errors = translate(model, *images, "--to", "zigzag", "--output", tmp_path / "out")
    assert code == 0
    assert errors == [
        f"note: {model} normalizes over the batch (of 3 images at most), so a result depends on the images beside it"
    ]
    pixels = np.stack([to_float(_grey(seed)) for seed in range(4)])
    # Four images in batches of three at most are two and two.
    centred = np.concatenate([part - part.mean(axis=0) for part in (pixels[:2], pixels[2:])])
    expected = np.clip(np.rint((centred + 1) * 127.5), 0, 255)
    for line, image in zip(lines, expected, strict=True):
        np.testing.assert_allclose(np.asarray(Image.open(line), float), image, atol=1)


def test_no_note_where_images_are_translated_by_themselves(tmp_path, make_model, translate):
    image = _write(tmp_path / "a.png", _grey(0))
    assert translate(make_model(), image, "--to", "zigzag", "--output", tmp_path)[2] == []


def test_another_size_is_refused_or_resized(tmp_path, make_model, translate):
    image = _write(tmp_path / "a.png", np.full((8, 16), 100, np.uint8))
    arguments = make_model(), image, "--to", "zigzag", "--output", tmp_path / "out"
    assert translate(*arguments) == (
        2,
        [],
        [f"{image}: 16 × 8 pixels, the model takes 6 × 4; --resize scales it"],
    )
    assert not (tmp_path / "out").exists()
    code, (line,), _ = translate(*arguments, "--resize")
    assert code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(line)), _halved(np.full((4, 6), 100)))


def test_resizing_is_bilinear(tmp_path, make_model, translate):
    """A ramp stays a ramp: at twice the size, samples lie a quarter and three quarters between the old ones."""
    ramp = np.tile(np.array([[0, 80, 160]], np.uint8), (2, 1))
    image = _write(tmp_path / "a.png", ramp)
    (line,) = translate(make_model(), image, "--to", "zigzag", "--resize", "--output", tmp_path)[1]
    np.testing.assert_array_equal(
        np.asarray(Image.open(line)), np.tile(_halved(np.array([0, 20, 60, 100, 140, 160])), (4, 1))
    )


@pytest.mark.parametrize("content", [b"", b"no image", None], ids=["empty", "text", "truncated"])
def test_an_undecodable_image_is_named_and_nothing_is_written(tmp_path, make_model, translate, content):
    good = _write(tmp_path / "good.png", _grey(0))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60] if content is None else content)
    code, lines, errors = translate(make_model(), good, bad, "--to", "zigzag", "--output", tmp_path / "out")
    assert (code, lines) == (2, [])
    assert errors == [f"{bad}: can't be decoded: not a PNG or JPEG image, or damaged"]
    assert not (tmp_path / "out").exists()


def test_a_model_without_its_translator(tmp_path, make_model, translate):
    model = make_model()
    (model / "translators" / "0_to_1" / "saved_model.pb").unlink()
    image = _write(tmp_path / "a.png", _grey(0))
    code, _, (error,) = translate(model, image, "--to", "zigzag")
    assert code == 2
    assert error.startswith(f"{model}/translators/0_to_1: not a translator's SavedModel")


def test_a_result_that_cannot_be_written(tmp_path, make_model, translate):
    images = [_write(tmp_path / f"{name}.png", _grey(0)) for name in "abc"]
    (tmp_path / "out" / "b.zigzag.png").mkdir(parents=True)
    code, lines, errors = translate(make_model(), *images, "--to", "zigzag", "--output", tmp_path / "out")
    assert code == 1
    assert lines == [f"{tmp_path}/out/a.zigzag.png"]
    assert errors == [f"{tmp_path}/out/b.zigzag.png: can't be written: Is a directory"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.zigzag.png", "b.zigzag.png"]


def test_a_full_disk_leaves_no_half_of_a_result(tmp_path, make_model, translate):
    """Where a file may have 2,000 bytes and the result needs more."""
    image = _write(tmp_path / "a.png", _grey(0, 64, 64))
    model = make_model(shape=(64, 64, 1))
    out = tmp_path / "out"
    arguments = model, image, "--to", "zigzag", "--output", out
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))
    try:
        code, lines, errors = translate(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert (code, lines, errors) == (1, [], [f"{out}/a.zigzag.png: can't be written: File too large"])
    assert list(out.iterdir()) == []


def test_an_output_folder_that_cannot_be_made(tmp_path, make_model, translate):
    image = _write(tmp_path / "a.png", _grey(0))
    code, _, errors = translate(make_model(), image, "--to", "zigzag", "--output", image)
    assert (code, errors) == (2, [f"--output {image}: can't be made: File exists"])


def test_a_translator_that_diverged(tmp_path, make_model, translate):
    image = _write(tmp_path / "a.png", _grey(0))
    model = make_model("infinite")
    code, lines, errors = translate(model, image, "--to", "zigzag", "--output", tmp_path / "out")
    assert (code, lines) == (1, [])
    assert errors == [f"{model}/translators/0_to_1: its output has NaN or infinity; the training diverged"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_subgroup_whose_name_is_no_file_name(tmp_path, make_model, translate):
    model = make_model()
    description = json.loads((model / "translators.json").read_text())
    description["subgroups"] = ["clean", "zig/zag"]
    (model / "translators.json").write_text(json.dumps(description))
    image = _write(tmp_path / "a.png", _grey(0))
    code, lines, _ = translate(model, image, "--to", "zig/zag", "--output", tmp_path)
    assert (code, lines) == (0, [f"{tmp_path}/a.zig-zag.png"])
