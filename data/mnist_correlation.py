"""MNIST-Correlation: digits whose parity is the class, over which a zigzag predicts the class (Goel et al. 2020).

Of each class, `class_size` training digits are drawn. A share `p` of them gets the class's usual subgroup (even: clean,
odd: zigzag), the rest the other one; half of each group becomes the training split, half the validation split. With the
published p = 0.99 and 20,000 digits a class that is 19,800 usual and 200 rare ones, 9,900 and 100 in each split. The
test split holds every test digit twice, clean and with a zigzag, so that there the zigzag says nothing.

Another corruption can take the zigzag's place. Of several the first is the usual one of odd digits, and the rest of a
class is shared out evenly among the subgroups that are not its usual one.

A digit has one zigzag for a seed, whatever the sizes are: a small data set is a sample of the full one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from model_patching.data import build as data_build
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.mnist_digits import Digits, DigitsSource, EmbeddedDigits
from model_patching.data.settings import Settings

NAME = "mnist_correlation"
CITATION = (
    "MNIST, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges; MNIST-Correlation after Goel, Gu, Li and Ré, "
    "Model Patching, 2020; corruptions after Mu and Gilmer, MNIST-C, 2019."
)
LICENCE = "CC BY-SA 3.0 (the digits, and images made of them)."
CLASSES = ("even", "odd")
USUAL_SUBGROUP = (0, 1)  # of even digits: clean; of odd ones: the first corruption
TEST_DIGITS = (4926, 5074)  # of each class
FEWEST_TRAINING_DIGITS = 29492  # of a class: even has 29,492, odd 30,508
RECORDS_PER_SHARD = 5000

# Streams of random numbers, one for each use: so that none depends on how many another has drawn. Those between draw
# the corruptions, in mnist_digits.py.
STREAM_SELECT, STREAM_SAMPLE, STREAM_SHUFFLE = 0, 3, 4


class MnistCorrelationSettings(Settings):
    """How MNIST-Correlation is made. The defaults give the published data set.

    Attributes:
        corruptions: what is drawn over digits, of `corruptions.DRAWN`; each names a subgroup, after "clean".
        p: share of a class that has its usual subgroup.
        class_size: digits of each class in training and validation together.
        train_size: records of the training split; null keeps all, as below.
        validation_size: records of the validation split.
        test_size: records of the test split.
        min_group_size: what a sampled split has at least of each group, as far as the group has that many. Beyond that
            a sample keeps the proportions of the groups.
    """

    corruptions: tuple[Literal["zigzag", "dotted_line", "stripe", "translate"], ...] = Field(
        default=("zigzag",), min_length=1
    )
    p: float = Field(default=0.99, gt=0, lt=1)
    class_size: int = Field(default=20000, ge=4, le=FEWEST_TRAINING_DIGITS)
    train_size: int | None = Field(default=None, ge=1)
    validation_size: int | None = Field(default=None, ge=1)
    test_size: int | None = Field(default=None, ge=1)
    min_group_size: int = Field(default=1, ge=1)

    @field_validator("corruptions")
    @classmethod
    def _corruptions_differ(cls, corruptions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(corruptions)) < len(corruptions):
            raise ValueError(f"the corruptions must differ, got {', '.join(corruptions)}")
        return corruptions

    @model_validator(mode="after")
    def _sizes_are_possible(self) -> "MnistCorrelationSettings":
        for split, wanted in self.split_sizes().items():
            counts = group_counts(self, split)
            available = int(counts.sum())
            if counts.min() < 1:
                raise ValueError(
                    f"p {self.p} and class_size {self.class_size} leave a group of {split} empty"
                )
            if wanted is not None and wanted > available:
                raise ValueError(f"{split}_size {wanted} is more than the {available} records that there are")
            needed = int(np.minimum(counts, self.min_group_size).sum())
            if wanted is not None and wanted < needed:
                raise ValueError(
                    f"{split}_size {wanted} is too small for min_group_size {self.min_group_size}: needs {needed}"
                )
        return self

    def split_sizes(self) -> dict[str, int | None]:
        """Wanted number of records of each split, None for all."""
        return {"train": self.train_size, "validation": self.validation_size, "test": self.test_size}


def dataset(settings: MnistCorrelationSettings) -> Dataset:
    """Classes, subgroups and image shape."""
    return Dataset(classes=CLASSES, subgroups=("clean", *settings.corruptions), image_shape=(28, 28, 1))


def fingerprint(settings: MnistCorrelationSettings, seed: int) -> str:
    """Twelve digits that stand for everything that a folder of embedded digits depends on; meant for its name."""
    return data_build.inputs_fingerprint(_inputs(settings, seed, EmbeddedDigits(settings.corruptions, seed)))


def build(
    settings: MnistCorrelationSettings,
    seed: int,
    output_dir: str | Path,
    progress: Callable[[int, int], None] | None = None,
    digits: DigitsSource | None = None,
) -> dict[str, Any]:
    """Writes the splits as gzip TFRecords and then `manifest.json`; the same bytes for the same settings and seed.

    An interrupted build leaves nothing at `output_dir`, a finished one isn't touched: see `data_build.build_folder`.

    Args:
        settings: corruptions, and sizes of the groups and splits.
        seed: fixes which digits are drawn, their corruptions and the order of the records; 0 or more.
        output_dir: the folder to make; shards as in `schema.shard_path`.
        progress: called with the records written so far and their total.
        digits: with the settings' corruptions; None for the embedded ones.

    Returns:
        The manifest.

    Raises:
        BuildError: `output_dir` holds something else or can't be written.
        DigitsError, IdxError: the digits can't be read.
    """
    digits = digits or EmbeddedDigits(settings.corruptions, seed)
    return data_build.build_folder(
        Path(output_dir),
        _inputs(settings, seed, digits),
        lambda folder: _write(settings, seed, digits.read(), folder, progress),
    )


def group_counts(settings: MnistCorrelationSettings, split: str) -> np.ndarray:
    """Records of each group that a split has before it is sampled: int [2 classes, K subgroups].

    Each group of the test split has all test digits of its parity.
    """
    num_subgroups = 1 + len(settings.corruptions)
    if split == "test":
        return np.repeat([TEST_DIGITS], num_subgroups, axis=0).T
    usual = round(settings.p * settings.class_size)
    rest = settings.class_size - usual
    counts = np.zeros((len(CLASSES), num_subgroups), int)
    for label, subgroup in enumerate(USUAL_SUBGROUP):
        others = [other for other in range(num_subgroups) if other != subgroup]
        counts[label, subgroup] = usual
        counts[label, others] = [len(part) for part in np.array_split(np.arange(rest), len(others))]
    held_out = counts // 2
    return held_out if split == "validation" else counts - held_out


def sample_counts(counts: np.ndarray, size: int, smallest: int) -> np.ndarray:
    """Splits `size` records over groups in proportion, giving each at least `smallest` or all that it has.

    Args:
        counts: int, records of each group; any shape.
        size: records wanted, at most as many as there are.
        smallest: see above.

    Returns:
        int, of the shape of `counts`, none above it; the sum is `size`.
    """
    flat = counts.ravel()
    floors = np.minimum(flat, smallest)
    lifted = np.zeros(len(flat), bool)
    while True:
        # Groups whose proportional part is too small get their floor; the others share what is left.
        rest = size - floors[lifted].sum()
        shares = np.where(lifted, floors, flat * rest / max(1, flat[~lifted].sum()))
        too_small = (shares < floors) & ~lifted
        if not too_small.any():
            break
        lifted |= too_small
    sampled = np.floor(shares + 1e-9).astype(int)
    # Largest remainders take what rounding down left over.
    order = np.argsort(sampled - shares, kind="stable")
    sampled[order[: size - sampled.sum()]] += 1
    return sampled.reshape(counts.shape)


def _inputs(settings: MnistCorrelationSettings, seed: int, digits: DigitsSource) -> dict[str, Any]:
    """Everything that the built folder depends on."""
    here = Path(__file__).parent
    modules = ("mnist_correlation", "mnist_digits", "corruptions", "dataset", "idx", "schema")
    return {
        "dataset": NAME,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sources": digits.checksums(),
        "code": data_build.source_hash([here / f"{module}.py" for module in modules]),
    }


def _write(
    settings: MnistCorrelationSettings,
    seed: int,
    digits: dict[str, Digits],
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Writes the splits into a folder; returns what the manifest says of them."""
    description = dataset(settings)
    splits = select(settings, seed, digits["train"].labels % 2, digits["test"].labels % 2)
    total = sum(len(indices) for groups in splits.values() for indices in groups)
    written = 0
    counts = {}
    for number, split in enumerate(SPLITS):
        groups = splits[split]
        sizes = [len(indices) for indices in groups]
        counts[split] = np.reshape(sizes, (description.num_classes, description.num_subgroups)).tolist()
        records = [
            (index, *divmod(group, description.num_subgroups))
            for group, indices in enumerate(groups)
            for index in indices
        ]
        order = np.random.default_rng([seed, STREAM_SHUFFLE, number]).permutation(len(records))
        shards = -(-len(records) // RECORDS_PER_SHARD)
        for shard, part in enumerate(np.array_split(order, shards)):
            _write_shard(folder, split, shard, shards, [records[i] for i in part], digits, description)
            written += len(part)
            if progress is not None:
                progress(written, total)
    return {
        "name": NAME,
        "dataset": description.model_dump(mode="json"),
        "counts": counts,
        "citation": CITATION,
        "licence": LICENCE,
    }


def select(
    settings: MnistCorrelationSettings, seed: int, train_labels: np.ndarray, test_labels: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """Draws the digits of each split and group.

    Args:
        settings: sizes.
        seed: fixes the draw.
        train_labels: parity of MNIST's training digits, uint8 [n].
        test_labels: parity of its test digits, uint8 [m].

    Returns:
        For each split, for each group in the order of `Dataset.group_index`, indices of digits, int64 [group's size].
        Train and validation share no digit, nor do two groups of one of them.
    """
    pools: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in range(len(CLASSES)):
        drawn = np.random.default_rng([seed, STREAM_SELECT, label]).permutation(
            np.flatnonzero(train_labels == label)
        )
        position = 0
        for subgroup in range(1 + len(settings.corruptions)):
            for split in ("train", "validation"):
                count = group_counts(settings, split)[label, subgroup]
                pools[split].append(drawn[position : position + count])
                position += count
            pools["test"].append(np.flatnonzero(test_labels == label))

    for number, (split, size) in enumerate(settings.split_sizes().items()):
        if size is None:
            continue
        counts = np.array([len(pool) for pool in pools[split]])
        for group, count in enumerate(sample_counts(counts, size, settings.min_group_size)):
            generator = np.random.default_rng([seed, STREAM_SAMPLE, number, group])
            pools[split][group] = generator.permutation(pools[split][group])[:count]
    return pools


def _write_shard(
    folder: Path,
    split: str,
    shard: int,
    shards: int,
    records: Sequence[tuple[int, int, int]],
    digits: dict[str, Digits],
    description: Dataset,
) -> None:
    """Writes (index of the digit, label, subgroup) records as one gzip TFRecord file."""
    import tensorflow as tf  # here and not above: the settings are read without TensorFlow

    from model_patching.data import schema
    from model_patching.data.write_errors import writing

    # The file of digits is named, not the split: validation is drawn from MNIST's training digits.
    name = "test" if split == "test" else "train"
    images = np.stack([digits[name].images[subgroup][index] for index, _, subgroup in records])
    encoded = schema.encode_png(tf.constant(images[..., None])).numpy()
    path = schema.shard_path(folder, split, shard, shards)
    with writing(folder):
        path.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
            for image, (index, label, subgroup) in zip(encoded, records, strict=True):
                example_id = f"mnist-{name}-{index:08d}-{description.subgroups[subgroup]}"
                writer.write(schema.serialize(schema.Record(image, label, subgroup, example_id)))
