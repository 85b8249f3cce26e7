"""The block `mistakes` of `summary.json`, and the images that the report shows of them."""

from typing import TYPE_CHECKING, Any

from model_patching.components.subgroup_report.consistency import group_keys
from model_patching.components.subgroup_report.picture import Picture, picture
from model_patching.data.dataset import Dataset

if TYPE_CHECKING:  # it loads TensorFlow, which predictions from elsewhere don't need
    from model_patching.components.subgroup_report.score import Answer, Scores

LARGEST_IMAGE = 20_000  # bytes; a larger one becomes a JPEG
LONGEST_SIDE = 256  # pixels; the page shows an image 84 CSS pixels wide


def build_mistakes(scores: "Scores", dataset: Dataset) -> list[dict[str, Any]]:
    """The images that the model got wrong with the highest probability, group by group.

    Returns:
        JSON-ready: `{label, subgroup, name, example_id, predicted, probability, renditions}`, the surest of each group
        first; `renditions` has `{subgroup, predicted, probability}` of each, or nothing.
    """
    return [
        {
            **group_keys(*group, dataset),
            "example_id": mistake.example_id,
            **_answer(mistake.answer),
            "renditions": [
                {"subgroup": subgroup, **_answer(answer)}
                for subgroup, answer in enumerate(mistake.renditions)
            ],
        }
        for group, mistakes in sorted(scores.mistakes.items())
        for mistake in mistakes
    ]


def read_pictures(scores: "Scores") -> dict[str, list[Picture]]:
    """The images of every mistake by its id: first that of the record, then its renditions.

    Raises:
        ValueError: an image can't be decoded; the message names its record.
    """
    return {
        mistake.example_id: [
            picture(answer.image, LARGEST_IMAGE, f"an image of record '{mistake.example_id}'", LONGEST_SIDE)
            for answer in (mistake.answer, *mistake.renditions)
        ]
        for mistakes in scores.mistakes.values()
        for mistake in mistakes
    }


def _answer(answer: "Answer") -> dict[str, Any]:
    return {"predicted": answer.predicted, "probability": answer.probability}
