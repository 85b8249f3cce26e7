import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.diagnostics import (
    diagnose,
    distance_left,
    score,
)
from model_patching.components.cyclegan_trainer.probes import Probes, train_probes
from model_patching.components.cyclegan_trainer.settings import ProbeSettings
from model_patching.data.arrays import Arrays, load_arrays

# An image of these tests is 2×2×1: its label and its subgroup in grey levels of 100, and twice what it shows.
LABEL, SUBGROUP, CONTENT = 0, 1, 2


def grey(images):
    """Grey levels, not rounded, of float [n, 2, 2, 1] in [-1, 1]; [n, 4]."""
    return (np.asarray(images).reshape(-1, 4) + 1) * 127.5


def split(contents):
    """A split with an image for each of `contents[label][subgroup]`."""
    rows = [
        (label, subgroup, [[[100 * label], [100 * subgroup]], [[content], [content]]])
        for label, row in enumerate(contents)
        for subgroup, group in enumerate(row)
        for content in group
    ]
    return Arrays(
        image=np.array([image for _, _, image in rows], np.uint8).reshape(-1, 2, 2, 1),
        patched_images=None,
        label=np.array([label for label, _, _ in rows], np.int32),
        subgroup=np.array([subgroup for _, subgroup, _ in rows], np.int32),
        group_count=np.array([len(group) for row in contents for group in row], np.int32),
    )


class Judge:
    """Reads label and subgroup off the pixels; calls every image wrong that shows one of `confusing`."""

    def __init__(self, confusing=()):
        self.confusing = confusing

    def classify(self, images):
        levels = grey(images)
        assert np.array_equal(np.rint(levels), levels.round(3))  # whole grey levels alone
        label = np.rint(levels[:, LABEL] / 100).astype(int)
        wrong = np.isin(np.rint(levels[:, CONTENT]), self.confusing)
        return np.where(wrong, label + 1, label), np.rint(levels[:, SUBGROUP] / 100).astype(int)

    def subgroup_features(self, images):
        return grey(images)[:, [SUBGROUP]] / 100


def paints(pixel, level, only=lambda content: content >= 0):
    """A translator that sets a pixel to a grey level, where `only` says so of the content."""

    def translate(images):
        levels = grey(images)
        chosen = only(levels[:, CONTENT].round())
        levels[chosen, pixel] = level
        return tf.constant(levels.reshape(-1, 2, 2, 1) / 127.5 - 1, tf.float32)

    return translate


def adds(levels):
    return lambda images: images + levels / 127.5


def identity(images):
    return images


def perfect(num_subgroups=2):
    pairs = [(s, t) for s in range(num_subgroups) for t in range(num_subgroups) if s != t]
    return {(s, t): paints(SUBGROUP, 100 * t) for s, t in pairs}


def measure(make_dataset, translators, contents, judge=None, labels=None, batch_size=100, limit=100):
    dataset = make_dataset(len(contents), len(contents[0]), (2, 2, 1))
    labels = range(len(contents)) if labels is None else labels
    return diagnose(translators, judge or Judge(), split(contents), dataset, labels, batch_size, limit)


CONTENTS = [[[1, 2, 3], [4, 5]], [[6], [7, 8, 9, 10]]]


def test_translators_that_do_nothing(make_dataset):
    directions = measure(make_dataset, {(0, 1): identity, (1, 0): identity}, CONTENTS)
    assert directions[0] == {
        "label": 0,
        "class": "c0",
        "source": "s0",
        "target": "s1",
        "pair": [0, 1],
        "count": 3,
        "class_count": 3,
        "flip_rate": 0.0,
        "class_kept": 1.0,
        "passed": 0.0,
        "distance_left": 1.0,
        "score": 0.0,
        "cycle_error": 0.0,
        "identity_error": 0.0,
    }
    assert [(d["pair"], d["label"], d["count"]) for d in directions] == [
        ([0, 1], 0, 3),
        ([0, 1], 1, 1),
        ([1, 0], 0, 2),
        ([1, 0], 1, 4),
    ]
    assert {(d["flip_rate"], d["class_kept"]) for d in directions} == {(0.0, 1.0)}
    assert {type(value) for value in list(directions[0].values())[7:]} == {float}
    # One image of class 1 alone is in subgroup 0, so that there its distance can't be measured.
    assert [d["distance_left"] for d in directions] == [1.0, None, 1.0, None]


def test_perfect_translators_between_three_subgroups(make_dataset):
    contents = [[[1, 2], [3], [4, 5]], [[6], [7], [8]]]
    directions = measure(make_dataset, perfect(3), contents)
    assert len(directions) == 12
    for direction in directions:
        assert direction["flip_rate"] == direction["class_kept"] == direction["passed"] == 1.0
        assert direction["score"] == 1.0
        assert direction["cycle_error"] == direction["identity_error"] == 0.0
    assert [d["source"] + d["target"] for d in directions[::2]] == [
        "s0s1",
        "s0s2",
        "s1s0",
        "s1s2",
        "s2s0",
        "s2s1",
    ]


def test_errors_by_hand(make_dataset):
    # 25 grey levels more there, 5 less back, no pixel near black or white: 20 of 127.5 for the cycle.
    directions = measure(make_dataset, {(0, 1): adds(25), (1, 0): adds(-5)}, [[[50], [60]], [[70], [80, 90]]])
    there, _, back, _ = directions
    assert there["identity_error"] == pytest.approx(25 / 127.5)
    # The label and subgroup of (0, 0) are black already and stay so: two pixels of the four.
    assert there["cycle_error"] == pytest.approx(20 / 127.5)
    assert directions[1]["cycle_error"] == pytest.approx(20 / 127.5)
    # Class 0, back and there: label 0 → 0 → 25, subgroup 100 → 95 → 120, content 60 → 55 → 80.
    assert back["cycle_error"] == pytest.approx((25 + 20 + 20 + 20) / 4 / 127.5)
    # Label 0 → 0, subgroup 0 → 0, content 50 → 45.
    assert back["identity_error"] == pytest.approx((0 + 0 + 5 + 5) / 4 / 127.5)


def test_shares_by_hand(make_dataset):
    paint_class = paints(LABEL, 100, only=lambda content: content % 2 == 0)
    paint_subgroup = paints(SUBGROUP, 100, only=lambda content: content <= 6)

    def spoils(images):
        return paint_class(paint_subgroup(images))

    contents = [[[1, 2, 3, 4, 5, 6, 7, 8], [9]], [[2, 7], [9]]]
    of_class_0, of_class_1, *_ = measure(make_dataset, {(0, 1): spoils, (1, 0): identity}, contents)
    # Of 1 ... 8: 1 ... 6 land in the target, 1 3 5 7 keep class 0; 1 3 5 do both.
    assert (of_class_0["flip_rate"], of_class_0["class_kept"], of_class_0["passed"]) == (6 / 8, 4 / 8, 3 / 8)
    # Class 1 painted as class 1 is kept.
    assert (of_class_1["flip_rate"], of_class_1["class_kept"], of_class_1["passed"]) == (1 / 2, 1.0, 1 / 2)


def test_the_distance_left_by_hand(make_dataset):
    # Features 0 and 1, then three renditions at 1, 1 and 0: k(1, 1) = 8, k(0, ·) = 1. The whole way is 1 + 8 - 2 = 7;
    # left are (8 + 1 + 1) / 3 + 8 - 2 * (8 + 8 + 1) / 3 = 0.
    half = paints(SUBGROUP, 100, only=lambda content: content <= 2)
    there, *_ = measure(
        make_dataset, {(0, 1): half, (1, 0): identity}, [[[1, 2, 3], [4, 5]], [[6, 7], [8, 9]]]
    )
    assert there["distance_left"] == pytest.approx(0)
    # All at one half: k(½, ½) = 1.25³, k(½, 1) = 1.5³: 1.25³ + 8 - 2 * 1.5³ of 7.
    faint = paints(SUBGROUP, 50)
    there, *_ = measure(
        make_dataset, {(0, 1): faint, (1, 0): identity}, [[[1, 2, 3], [4, 5]], [[6, 7], [8, 9]]]
    )
    assert there["distance_left"] == pytest.approx((1.25**3 + 8 - 2 * 1.5**3) / 7, rel=1e-5)
    assert there["score"] == pytest.approx(there["passed"] * (1 - there["distance_left"]))


def test_renditions_always_at_the_same_place_are_far_from_real_ones():
    random = np.random.default_rng(1)
    places = np.eye(10)
    source, real = np.zeros((200, 10)), places[random.integers(10, size=200)]
    assert distance_left(source, places[random.integers(10, size=200)], real) == pytest.approx(0, abs=0.05)
    assert distance_left(source, places[np.full(200, 3)], real) > 1
    assert distance_left(source, source, real) == 1
    assert distance_left(source, source, source) is None


def test_where_the_probe_errs_the_class_does_not_count(make_dataset):
    contents = [[[1, 2, 3, 4, 5], [9]], [[6, 7], [9]]]
    translators = {
        (0, 1): paints(SUBGROUP, 100, only=lambda content: content != 1),
        (1, 0): identity,
    }
    judge = Judge(confusing=[3, 4, 6, 7])
    of_class_0, of_class_1, *_ = measure(make_dataset, translators, contents, judge)
    assert (of_class_0["class_count"], of_class_1["class_count"]) == (3, 0)
    # Right about 1, 2, 5: all keep their class, 2 and 5 are in the target. In the target are 2, 3, 4, 5.
    assert (of_class_0["flip_rate"], of_class_0["class_kept"], of_class_0["passed"]) == (4 / 5, 1.0, 2 / 3)
    assert (of_class_1["flip_rate"], of_class_1["class_kept"], of_class_1["passed"]) == (1.0, None, None)
    assert of_class_1["cycle_error"] == pytest.approx(50 / 2 / 127.5)  # the subgroup's pixel stays 100 off


def test_a_rendition_is_rounded_before_it_is_judged_or_goes_back(make_dataset):
    seen = []

    def back(images):
        seen.append(grey(images))
        return images

    # Content 10 → 10.4 → 10; 300 grey levels are 255.
    for shift, content in ((0.4, 10), (0.6, 11), (300, 255)):
        seen.clear()
        directions = measure(make_dataset, {(0, 1): adds(shift), (1, 0): back}, [[[10], [20]], [[10], [20]]])
        assert seen[0][0, CONTENT] == pytest.approx(content, abs=1e-3)
        assert directions[0]["cycle_error"] == pytest.approx(
            {0.4: 0, 0.6: 1, 300: (255 + 255 + 245 + 245) / 4}[shift] / 127.5
        )


def test_batches_are_equal_and_of_one_group_up_to_the_limit(make_dataset):
    batches = []

    def spy(images):
        levels = np.rint(grey(images)).astype(int)
        batches.append((set(levels[:, LABEL]), set(levels[:, SUBGROUP]), levels[:, CONTENT].tolist()))
        return images

    contents = [[[10, 11, 12, 13, 14, 15, 16, 17], [20]], [[30, 31], [40, 41, 42]]]
    measure(make_dataset, {(0, 1): spy, (1, 0): identity}, contents, batch_size=3, limit=7)
    assert batches[:3] == [({0}, {0}, [10, 11, 12]), ({0}, {0}, [13, 14]), ({0}, {0}, [15, 16])]
    assert batches[3] == ({0}, {100}, [20])  # identity
    assert batches[4:6] == [({100}, {0}, [30, 31]), ({100}, {100}, [40, 41, 42])]
    # Then the renditions of s1 → s0, which this identity leaves as they are, go back.
    assert batches[6:] == [({0}, {100}, [20]), ({100}, {100}, [40, 41, 42])]


def test_a_group_without_images_and_a_model_of_one_class(make_dataset):
    contents = [[[1], [2]], [[3, 4], []]]
    there, back = measure(make_dataset, perfect(), contents, labels=[1])
    assert (there["class"], there["pair"], there["count"], there["passed"]) == ("c1", [0, 1], 2, 1.0)
    assert there["cycle_error"] == 0.0 and there["identity_error"] is None
    measures = ("flip_rate", "class_kept", "passed", "distance_left", "score", "cycle_error")
    assert back["count"] == 0 and [back[measure] for measure in measures] == [None] * 6
    assert back["identity_error"] == 0.0


DIRECTION = {
    "label": 0,
    "class": "even",
    "source": "clean",
    "target": "zigzag",
    "pair": [0, 1],
    "count": 500,
    "flip_rate": 0.99,
    "class_kept": 0.98,
    "passed": 0.97,
    "distance_left": 0.02,
    "score": 0.95,
    "cycle_error": 0.02,
    "identity_error": 0.01,
}
OTHER = DIRECTION | {"label": 1, "class": "odd", "source": "zigzag", "target": "clean", "pair": [1, 0]}


def test_the_lowest_score_of_a_direction_counts():
    assert score([DIRECTION, OTHER | {"score": 0.9}]) == 0.9
    assert score([DIRECTION | {"score": 0.89}, OTHER]) == 0.89


def test_what_was_not_measured_is_left_out_of_the_score():
    unmeasured = OTHER | {"score": None, "cycle_error": None}
    assert score([DIRECTION, unmeasured]) == 0.95
    assert score([unmeasured]) == -np.inf


def test_trained_probes_see_what_translators_do(tmp_path, make_dataset, write_records, toy_records):
    shape, dataset = (8, 8, 1), make_dataset()
    settings = ProbeSettings(filters=(8, 16), steps=150, batch_size=16)
    paths = [
        write_records(tmp_path / f"{seed}.gz", toy_records(((40, 10), (10, 40)), shape, seed=seed))
        for seed in (1, 2)
    ]
    train, held_out = (load_arrays([path], dataset) for path in paths)
    probes = Probes(shape, dataset, settings, 1)
    train_probes(probes, train, dataset, settings, 1)

    # Subgroup 1 has a white square at the bottom right, 3×4; without it there is the stripe's grey or the dark.
    def draw(images):
        return tf.concat(
            [images[:, :5], tf.concat([images[:, 5:, :4], tf.ones_like(images[:, 5:, 4:])], 2)], 1
        )

    def clear(images):
        return tf.concat([images[:, :5], tf.concat([images[:, 5:, :4], images[:, 2:5, 4:]], 2)], 1)

    def draw_and_mirror_stripes(images):
        return draw(images[:, :, ::-1])

    for there, kept in ((draw, 1.0), (draw_and_mirror_stripes, 0.0)):
        translators = {(0, 1): there, (1, 0): clear}
        for direction in diagnose(translators, probes, held_out, dataset, [0, 1], 32, 40)[:2]:
            assert direction["flip_rate"] >= 0.95
            assert direction["class_kept"] == pytest.approx(kept, abs=0.05)
    for direction in diagnose(translators, probes, held_out, dataset, [0, 1], 32, 40)[2:]:
        assert direction["flip_rate"] >= 0.95 and direction["class_kept"] >= 0.95
