import json

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.augmenter.load_translator import TranslatorError
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.translators import Translators, plan_translators
from model_patching.data.dataset import Dataset

TWO = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
THREE = Dataset(classes=("a", "b"), subgroups=("x", "y", "z"), image_shape=(4, 4, 1))
PNG = tf.io.encode_png(np.full((4, 4, 1), 200, np.uint8)).numpy()


def constant(value):
    return lambda images: tf.zeros_like(images) + (value / 127.5 - 1.0)


def describe(folder, pairs, label=None, shape=(4, 4, 1)):
    folder.mkdir()
    content = {"label": label, "pairs": pairs, "image_shape": shape, "seed": 1, "versions": {}}
    (folder / "translators.json").write_text(json.dumps(content))
    return str(folder)


def names(plan, folder):
    prefix = f"{folder}/translators/"
    return {group: [path.removeprefix(prefix) for path in paths] for group, paths in plan.items()}


def test_with_two_subgroups_every_image_goes_through_both(tmp_path):
    model = describe(tmp_path / "m", [[0, 1], [1, 0]])
    both = ["1_to_0", "0_to_1"]
    assert names(plan_translators([model], TWO), model) == {
        (0, 0): both,
        (0, 1): both,
        (1, 0): both,
        (1, 1): both,
    }


def test_with_three_an_image_takes_its_own_pair_or_the_first_into_its_subgroup(tmp_path):
    model = describe(tmp_path / "m", [[s, z] for s in range(3) for z in range(3) if s != z])
    plan = names(plan_translators([model], THREE), model)
    assert plan[0, 0] == ["1_to_0", "0_to_1", "0_to_2"]
    assert plan[0, 1] == ["1_to_0", "0_to_1", "1_to_2"]
    assert plan[1, 2] == ["2_to_0", "2_to_1", "0_to_2"]


def test_one_model_for_each_class(tmp_path):
    models = [describe(tmp_path / f"m{label}", [[0, 1], [1, 0]], label) for label in (1, 0)]
    plan = plan_translators(models, TWO)
    assert plan[0, 1][0] == f"{tmp_path}/m0/translators/1_to_0"
    assert plan[1, 1][0] == f"{tmp_path}/m1/translators/1_to_0"


def test_wrong_sets_of_models_are_named_in_one_line(tmp_path):
    pairs = [[0, 1], [1, 0]]
    shared, even = describe(tmp_path / "s", pairs), describe(tmp_path / "e", pairs, 0)
    one_way, far = describe(tmp_path / "o", [[0, 1]]), describe(tmp_path / "f", pairs, 7)
    wide = describe(tmp_path / "w", pairs, shape=(8, 8, 1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "translators.json").write_text('{"label": null}')
    for models, message in (
        ([even], "class 'odd' has no model"),
        ([shared, even], "class 'even' has two models of translators: .*s and .*e"),
        ([one_way], "class 'even': .*o has no translator into 'clean' for images of 'clean'"),
        ([far], "label 7 is not a class"),
        ([wide], r"made for images \[8, 8, 1\], the data set has \[4, 4, 1\]"),
        ([str(tmp_path / "empty")], "translators.json is missing"),
        ([str(tmp_path / "bad")], "needs label, pairs and image_shape"),
    ):
        with pytest.raises(TranslatorError, match=message) as caught:
            plan_translators(models, TWO)
        assert "\n" not in str(caught.value)


def test_entry_z_is_the_image_in_subgroup_z(tmp_path, write_model):
    model = write_model(tmp_path, {(0, 1): constant(10), (1, 0): lambda images: -images})
    translators = Translators(plan_translators([model], TWO), TWO, AugmenterSettings())
    for subgroup in (0, 1):
        ((into_clean, into_zigzag),) = translators.patch(0, subgroup, [PNG])
        assert into_clean.startswith(b"\x89PNG")
        np.testing.assert_array_equal(tf.io.decode_png(into_clean), np.full((4, 4, 1), 55))
        np.testing.assert_array_equal(tf.io.decode_png(into_zigzag), np.full((4, 4, 1), 10))


def test_jpeg_of_a_set_quality(tmp_path, write_model):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    dataset = Dataset(classes=("a", "b"), subgroups=("x", "y"), image_shape=(32, 32, 3))
    effects = {(0, 1): lambda images: images, (1, 0): lambda images: images}
    plan = plan_translators([write_model(tmp_path, effects, shape=(32, 32, 3))], dataset)
    sizes = []
    for quality in (20, None):
        settings = AugmenterSettings(image_format="jpeg", jpeg_quality=quality)
        ((first, _),) = Translators(plan, dataset, settings).patch(0, 0, [tf.io.encode_png(noise).numpy()])
        assert first.startswith(b"\xff\xd8")
        sizes.append(len(first))
    assert sizes[0] < sizes[1]
    assert first == tf.io.encode_jpeg(noise, quality=95).numpy()


def test_a_damaged_saved_model_is_named(tmp_path, write_model):
    model = write_model(tmp_path, {(0, 1): constant(1), (1, 0): constant(2)})
    (tmp_path / "translators" / "1_to_0" / "saved_model.pb").unlink()
    plan = plan_translators([model], TWO)
    with pytest.raises(TranslatorError, match="1_to_0: not a translator's SavedModel") as caught:
        Translators(plan, TWO, AugmenterSettings())
    assert "\n" not in str(caught.value)
