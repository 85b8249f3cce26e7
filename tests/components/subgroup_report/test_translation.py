"""The block `translation` of `summary.json` against figures that say where they belong."""

import json

import pytest

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.subgroup_report.summary import to_json
from model_patching.components.subgroup_report.translation import (
    build_translation,
    in_words,
    worst_direction,
)

NOTHING_ASKED = TranslationThresholds()


def test_no_translators(dataset):
    assert build_translation([], NOTHING_ASKED, dataset) is None


def test_one_model_for_all_classes(dataset, translator_training, summarize):
    training = translator_training()
    thresholds = TranslationThresholds(min_class_kept=0.5)
    summary = summarize(translator_trainings=[training], translation_thresholds=thresholds)
    translation = json.loads(to_json(summary))["translation"]
    assert list(translation) == [
        "min_flip_rate",
        "min_class_kept",
        "max_distance_left",
        "max_cycle_error",
        "max_identity_error",
        "directions",
        "probes",
        "selected",
        "thresholds",
    ]
    # The worst flip rate is zigzag → clean of class odd: 0.99 − 0.01 · 2 − 0.1.
    assert translation["min_flip_rate"] == pytest.approx(0.87)
    assert translation["min_class_kept"] == pytest.approx(0.865)
    assert translation["max_distance_left"] == pytest.approx(0.031)
    assert translation["max_cycle_error"] == pytest.approx(0.021)
    assert translation["max_identity_error"] == pytest.approx(0.011)
    assert [(row["source"], row["class"]) for row in translation["directions"]] == [
        ("clean", "even"),
        ("clean", "odd"),
        ("zigzag", "even"),
        ("zigzag", "odd"),
    ]
    kept = training["diagnoses"][1]
    assert kept["step"] == 500
    assert translation["directions"] == kept["directions"]
    assert translation["probes"] == [{"model": None, **probe} for probe in training["probes"]]
    assert translation["selected"] == [
        {"model": None, "pair": ["clean", "zigzag"], "step": 500, "steps_done": 750, "stopped_early": True}
    ]
    assert translation["thresholds"] == {
        "min_flip_rate": None,
        "min_class_kept": 0.5,
        "max_distance_left": None,
        "max_cycle_error": None,
        "max_identity_error": None,
    }


def test_a_model_for_each_class_and_three_subgroups(three_subgroups, translator_training):
    trainings = [translator_training(label, three_subgroups) for label in (0, 1)]
    translation = build_translation(trainings, NOTHING_ASKED, three_subgroups)
    names = three_subgroups.subgroups
    assert [(row["source"], row["target"], row["label"]) for row in translation["directions"]] == [
        (source, target, label)
        for source in names
        for target in names
        if source != target
        for label in (0, 1)
    ]
    assert [(entry["model"], *entry["pair"]) for entry in translation["selected"]] == [
        (label, *pair)
        for label in (0, 1)
        for pair in (("clean", "zigzag"), ("clean", "dotted line"), ("zigzag", "dotted line"))
    ]
    assert [probe["model"] for probe in translation["probes"]] == [0] * 6 + [1] * 6
    assert translation["min_flip_rate"] == pytest.approx(0.99 - 0.05 - 0.1)


def test_what_could_not_be_measured_is_left_out(dataset, translator_training, unmeasured):
    training = translator_training()
    *others, last = training["diagnoses"][1]["directions"]
    last.update(unmeasured)
    translation = build_translation([training], NOTHING_ASKED, dataset)
    assert translation["min_flip_rate"] == pytest.approx(0.88)
    assert worst_direction(translation["directions"]) is others[1]
    for row in others:
        row.update(unmeasured)
    translation = build_translation([training], NOTHING_ASKED, dataset)
    assert translation["min_flip_rate"] is translation["max_cycle_error"] is None
    assert worst_direction(translation["directions"]) is None
    assert in_words(translation) == "worst flip rate –, class kept –, distance left –"


def test_the_worst_direction_is_that_with_the_lowest_score(dataset, translator_training):
    directions = translator_training()["diagnoses"][1]["directions"]
    directions[0]["score"] = 0.1
    assert worst_direction(directions) is directions[0]


def test_in_words(dataset, translator_training):
    training = translator_training()
    training["diagnoses"][1]["directions"][0]["class_kept"] = 0.5
    translation = build_translation([training], NOTHING_ASKED, dataset)
    assert in_words(translation) == (
        "worst flip rate 87.0 % (odd, zigzag → clean), class kept 50.0 % (even, clean → zigzag), "
        "distance left 3.1 % (even, clean → zigzag)"
    )


def test_the_step_that_was_kept_has_no_diagnosis(dataset, translator_training):
    training = translator_training()
    training["selected"][0]["step"] = 7
    with pytest.raises(ValueError, match="no diagnosis of step 7"):
        build_translation([training], NOTHING_ASKED, dataset)
