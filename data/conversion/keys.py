"""The numbers that decide what becomes of an image: of its split and group, of its place, and of the draw."""

from model_patching.data.dataset import Dataset
from model_patching.data.id_hash import id_hash
from model_patching.data.source import SourceImage
from model_patching.data.source_order import group_code


def image_code(image: SourceImage, dataset: Dataset) -> int:
    """Number of the image's split and group, see `group_code`.

    Raises:
        ValueError: the data set has no such group.
    """
    return group_code(image.split, dataset.group_index(image.label, image.subgroup), dataset.num_groups)


def order_key(example_id: str, seed: int) -> int:
    """Where in its split a record goes."""
    return id_hash(f"{seed} order {example_id}")


def draw_key(example_id: str, seed: int) -> int:
    """The smallest of a group are taken where not all are."""
    return id_hash(f"{seed} draw {example_id}")
