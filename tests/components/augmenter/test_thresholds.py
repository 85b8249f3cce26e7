import pytest

from model_patching.components.augmenter.thresholds import (
    TranslationRefused,
    TranslationThresholds,
    check_thresholds,
)

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


def refusal(directions, **thresholds):
    with pytest.raises(TranslationRefused) as refused:
        check_thresholds(directions, TranslationThresholds(**thresholds))
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_thresholds_that_are_reached():
    check_thresholds([DIRECTION, OTHER], TranslationThresholds())
    exactly = {
        "min_flip_rate": 0.99,
        "min_class_kept": 0.98,
        "max_distance_left": 0.02,
        "max_cycle_error": 0.02,
        "max_identity_error": 0.01,
    }
    check_thresholds([DIRECTION, OTHER], TranslationThresholds(**exactly))


@pytest.mark.parametrize(
    "key, measure, asked, values",
    [
        ("min_flip_rate", "flip_rate", 0.98, (0.97, 0.9135)),
        ("min_class_kept", "class_kept", 0.97, (0.98, 0.9135)),
        ("max_distance_left", "distance_left", 0.05, (-0.01, 0.07)),
        ("max_cycle_error", "cycle_error", 0.05, (0.06, 0.07)),
        ("max_identity_error", "identity_error", 0.05, (0.01, 0.07)),
    ],
)
def test_a_missed_threshold_names_the_worst_direction(key, measure, asked, values):
    directions = [DIRECTION | {measure: values[0]}, OTHER | {measure: values[1]}]
    assert refusal(directions, **{key: asked}) == (
        f"translation.{key} is {asked}, but zigzag → clean of class 'odd' reaches {values[1]}: look at the sheets; "
        f"train longer or with other settings, or ease translation.{key}"
    )
    assert "'odd' reaches" in refusal(directions[::-1], **{key: asked})


def test_a_threshold_on_what_was_not_measured_is_refused():
    empty = OTHER | {"count": 0, "flip_rate": None, "class_kept": None, "cycle_error": None}
    for key in ("min_flip_rate", "min_class_kept", "max_cycle_error"):
        assert refusal([DIRECTION, empty], **{key: 0.5}) == (
            f"translation.{key} can't be checked for zigzag → clean of class 'odd': the validation split has no "
            f"example of group 'odd / zigzag'; add some to that split, or set translation.{key} to null"
        )
    assert "no example of group 'odd / clean';" in refusal(
        [OTHER | {"identity_error": None}], max_identity_error=0.5
    )
    assert refusal([OTHER | {"class_kept": None}], min_class_kept=0.5) == (
        "translation.min_class_kept can't be checked for zigzag → clean of class 'odd': the class probe gets no "
        "validation image of this group right; train the probes longer, or set translation.min_class_kept to null"
    )
    assert refusal([OTHER | {"distance_left": None}], max_distance_left=0.5) == (
        "translation.max_distance_left can't be checked for zigzag → clean of class 'odd': fewer than two validation "
        "images are of one of its groups, or the subgroup probe sees no difference between them; add validation "
        "images, train the probes longer, or set translation.max_distance_left to null"
    )
    # Without a threshold on it, it may be missing.
    check_thresholds([DIRECTION, empty], TranslationThresholds(max_identity_error=0.5))
