"""One pass over the test split, with a model whose answers are written in the images."""

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.subgroup_report import score as module
from model_patching.components.subgroup_report.score import check_counts, score
from model_patching.data.schema import Record, RecordError

GROUPS = [(0, 0), (0, 1), (1, 0), (1, 1)]


class _Reader(tf.Module):
    """Predicts the probability of class 1 that an image has for its first pixel, in 255ths."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serving_image(self, images):
        def first_pixel(image):
            return tf.cast(tf.io.decode_png(image)[0, 0, 0], tf.float32) / 255

        ones = tf.map_fn(first_pixel, images, fn_output_signature=tf.float32)
        return {"probabilities": tf.stack([1 - ones, ones], axis=1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("model"))
    reader = _Reader()
    tf.saved_model.save(reader, folder, signatures={"serving_image": reader.serving_image})
    return folder


def png(value):
    return tf.io.encode_png(np.full((2, 2, 1), value, np.uint8)).numpy()


def record(label, subgroup, name, value, *renditions):
    return Record(png(value), label, subgroup, name, tuple(map(png, renditions)))


def test_counts_mistakes_and_changes_by_hand(model, make_dataset, write_records, tmp_path):
    records = [
        record(0, 0, "right", 10, 20, 30),
        record(0, 0, "right, but not as s1", 10, 20, 200),
        record(0, 0, "wrong", 204, 220, 51),
        record(0, 1, "surer", 250, 240, 230),
        record(0, 1, "less sure", 150, 160, 140),
        record(0, 1, "equal, b", 200, 210, 210),
        record(0, 1, "equal, a", 200, 210, 210),
        record(1, 0, "without renditions", 0),
    ]
    paths = [write_records(tmp_path / f"{n}.gz", records[n::2]) for n in (1, 0)]
    found = score(paths, model, make_dataset(2, 2, (2, 2, 1)), most_mistakes=3, total=8)
    assert found.counts.count.tolist() == [[3, 4], [1, 0]]
    assert found.counts.correct.tolist() == [[2, 0], [0, 0]]
    assert found.rendered.tolist() == [[3, 4], [0, 0]]
    assert found.changed.tolist() == [[2, 0], [0, 0]]
    assert {group: [one.example_id for one in found.mistakes[group]] for group in GROUPS} == {
        (0, 0): ["wrong"],
        (0, 1): ["surer", "equal, a", "equal, b"],
        (1, 0): ["without renditions"],
        (1, 1): [],
    }
    (wrong,) = found.mistakes[0, 0]
    assert (wrong.answer.image, wrong.answer.predicted) == (png(204), 1)
    assert wrong.answer.probability == pytest.approx(0.8)
    assert [(one.image, one.predicted) for one in wrong.renditions] == [(png(220), 1), (png(51), 0)]
    assert [one.probability for one in wrong.renditions] == pytest.approx([220 / 255, 0.8])
    assert found.mistakes[1, 0][0].answer.probability == pytest.approx(1.0)
    assert found.mistakes[1, 0][0].renditions == ()


def test_batches_hold_as_many_images_as_they_may_and_change_nothing(
    model, make_dataset, write_records, tmp_path, monkeypatch
):
    generator = np.random.default_rng(0)
    records = [
        record(label, subgroup, f"{n}", *generator.integers(0, 256, 3))
        for n, (label, subgroup) in enumerate(GROUPS * 25)
    ]
    path = write_records(tmp_path / "data.gz", records)
    dataset = make_dataset(2, 2, (2, 2, 1))
    whole = score([path], model, dataset, 5, 100)
    sizes = []
    real = module._answers
    monkeypatch.setattr(module, "_answers", lambda f, batch: sizes.append(len(batch)) or real(f, batch))
    monkeypatch.setattr(module, "IMAGES_AT_ONCE", 20)
    assert score([path], model, dataset, 5, 100).mistakes == whole.mistakes
    assert sizes == [6] * 16 + [4]  # of 18 images

    # Against numpy, over all at once.
    value = np.array(
        [[tf.io.decode_png(image)[0, 0, 0] for image in (r.image, *r.patched_images)] for r in records]
    )
    predicted = (value > 127.5).astype(int)
    label, subgroup = np.array(GROUPS * 25).T
    for group in GROUPS:
        here = (label == group[0]) & (subgroup == group[1])
        assert whole.counts.correct[group] == (predicted[here, 0] == group[0]).sum()
        assert whole.changed[group] == (predicted[here] != predicted[here, :1]).any(axis=1).sum()
    assert whole.counts.count.sum() == whole.rendered.sum() == 100


def test_no_mistakes_asked_for(model, make_dataset, write_records, tmp_path):
    path = write_records(tmp_path / "data.gz", [record(0, 0, "wrong", 255)])
    assert score([path], model, make_dataset(2, 2, (2, 2, 1)), 0, 1).mistakes[0, 0] == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Record(b"no png", 0, 0, "b"), "records 'a' to 'b': a bad image: "),
        (Record(png(1), 2, 0, "b"), "record 'b': label 2 is not between 0 and 1"),
        (record(0, 0, "b", 1, 2), "record 'b': 1 patched images, there are 2 subgroups"),
    ],
)
def test_bad_records_are_named(model, make_dataset, write_records, tmp_path, bad, says):
    path = write_records(tmp_path / "data.gz", [record(0, 0, "a", 1), bad])
    with pytest.raises(RecordError, match=f"^{says}"):
        score([path], model, make_dataset(2, 2, (2, 2, 1)), 1, 2)


@pytest.mark.parametrize(
    ("correct", "count", "agrees"),
    [
        ([[900, 800], [700, 600]], 1000, True),
        ([[901, 798], [700, 599]], 1000, True),  # 4 of 4,000
        ([[901, 797], [700, 599]], 1000, False),
        ([[905, 795], [700, 600]], 1000, False),  # as many in all
        ([[0, 0], [0, 0]], 999, True),  # other records
    ],
)
def test_the_pass_is_held_against_the_evaluation(correct, count, agrees):
    evaluated = GroupCounts(np.array([[900, 800], [700, 600]]), np.full([2, 2], 1000))
    found = GroupCounts(np.array(correct), np.full([2, 2], count))
    if agrees:
        check_counts(found, evaluated)
    else:
        with pytest.raises(
            ValueError, match=r"serving_image gets [23],\d\d\d of 4,000 .* serving_default 3,000 "
        ):
            check_counts(found, evaluated)
