"""The Augmenter's Beam pipeline: records of a split in, the same records with patched images out.

Translators may normalize over their batch, so which images share a batch decides what comes out. It is fixed by the
records alone, never by workers, bundles or the order in which records lie in files:

1. Every group is cut into buckets of about `BATCHES_PER_BUCKET` batches by a hash of the example's id. A bucket is
   what one worker holds in memory.
2. A bucket is sorted by that hash and cut into batches of equal size, as few as `batch_size` allows. No batch is a
   small remainder, over which normalizing would give something else than it gave in training.
3. A record goes to an output shard by the hash too, and a shard is sorted by it: so shards are mixed.

Equal inputs therefore give equal files, byte for byte.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.translators import Translators
from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record, RecordError

BATCHES_PER_BUCKET = 16

Group = tuple[int, int]  # label, subgroup
Source = tuple[bytes, int, int]  # serialized record, number of its file, its number in the file


class PatchSplit(beam.PTransform):
    """Reads a split's files, adds the patched images to each record, and writes shards.

    Applied to a pipeline, it writes `<output_dir>/data-00000-of-0000N.tfrecord.gz`.

    Raises while running:
        RecordError: a file or record is damaged, an image doesn't fit the data set, an id comes twice, there is no
            record at all, or the runner lost some.
        TranslatorError: a translator can't be loaded or gives NaN.
    """

    def __init__(
        self,
        files: Sequence[str],
        output_dir: str,
        scratch_dir: str,
        plan: dict[Group, tuple[str, ...]],
        dataset: Dataset,
        settings: AugmenterSettings,
    ):
        """Takes the files of one split.

        Args:
            files: gzip TFRecord files.
            output_dir: folder of the shards; it exists.
            scratch_dir: existing folder for shards being written; on the same file system.
            plan: see `plan_translators`.
            dataset: classes, subgroups and image shape.
            settings: batch size, format and size of the shards.
        """
        super().__init__()
        self._files = sorted(files)
        self._output_dir = output_dir
        self._scratch_dir = scratch_dir
        self._plan = plan
        self._dataset = dataset
        self._settings = settings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Builds the graph; its result is one element that comes when every record is written."""
        numbered = list(enumerate(self._files))
        files = pipeline | "Files" >> beam.Create(numbered, reshuffle=True)
        # The files are read twice: how many buckets and shards to make has to be known before the first record is
        # placed, and holding the records until then would cost more than reading them again.
        group_counts = (
            files
            | "CountGroups" >> beam.FlatMap(_count_groups, self._dataset)
            | "SumGroups" >> beam.CombinePerKey(sum)
        )
        shards = (
            group_counts
            | "Counts" >> beam.Values()
            | "Total" >> beam.CombineGlobally(sum)
            | "Shards" >> beam.Map(_shard_count, self._settings.records_per_shard, self._files)
        )
        patched = (
            files
            | "Read"
            >> beam.FlatMap(
                _read_buckets,
                self._dataset,
                BATCHES_PER_BUCKET * self._settings.batch_size,
                beam.pvalue.AsDict(group_counts),
            )
            | "Buckets" >> beam.GroupByKey()
            | "Patch"
            >> beam.ParDo(
                _PatchBucket(self._files, self._plan, self._dataset, self._settings),
                beam.pvalue.AsSingleton(shards),
            )
        )
        # One empty entry for each shard, so that a shard that no record falls into is written all the same.
        every_shard = shards | "EveryShard" >> beam.FlatMap(
            lambda count: [(shard, b"") for shard in range(count)]
        )
        written_counts = (
            (patched, every_shard)
            | "WithEveryShard" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write"
            >> beam.FlatMap(
                _write_shard, self._output_dir, self._scratch_dir, beam.pvalue.AsSingleton(shards)
            )
            | "SumWritten" >> beam.CombinePerKey(sum)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "NothingLost"
            >> beam.Map(
                _check_counts,
                beam.pvalue.AsDict(group_counts),
                beam.pvalue.AsDict(written_counts),
                self._dataset,
            )
        )


def make_batches(count: int, batch_size: int) -> list[slice]:
    """Cuts `count` items into as few batches as `batch_size` allows, equal in size but for one item."""
    sizes = [len(part) for part in np.array_split(np.arange(count), -(-count // batch_size))]
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


def id_hash(example_id: str) -> int:
    """64-bit hash of an id that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(example_id.encode(), digest_size=8).digest(), "big")


def bucket_of(example_id: str, buckets: int) -> int:
    """Bucket of an example within its group."""
    return id_hash(example_id) % buckets


def shard_of(example_id: str, shards: int) -> int:
    """Output shard of an example. Taken from other bits than the bucket, so that a bucket spreads over all shards."""
    return (id_hash(example_id) >> 32) % shards


def _records(path: str, dataset: Dataset) -> Iterator[tuple[int, bytes, Record]]:
    """Records of a file with their numbers, from 0; checks that each belongs to a group of the data set."""
    number = 0
    try:
        for serialized in schema.read_records([path]).as_numpy_iterator():
            record = schema.deserialize(serialized)
            dataset.group_index(record.label, record.subgroup)
            yield number, serialized, record
            number += 1
    except tf.errors.OpError as error:
        raise RecordError(f"{path}: can't be read after record {number - 1}: {_first_line(error)}") from None
    except ValueError as error:
        raise RecordError(f"{path}, record {number}: {error}") from None


def _count_groups(numbered: tuple[int, str], dataset: Dataset) -> Iterable[tuple[Group, int]]:
    """Number of a file's records in each group."""
    _, path = numbered
    return Counter((record.label, record.subgroup) for _, _, record in _records(path, dataset)).items()


def _shard_count(total: int, records_per_shard: int, files: Sequence[str]) -> int:
    """Number of output shards."""
    if total == 0:
        raise RecordError(f"{', '.join(files)}: no records")
    return -(-total // records_per_shard)


def _read_buckets(
    numbered: tuple[int, str], dataset: Dataset, bucket_size: int, group_counts: dict[Group, int]
) -> Iterator[tuple[tuple[int, int, int], Source]]:
    """Records of a file, keyed by label, subgroup and bucket."""
    file_number, path = numbered
    buckets = {group: -(-count // bucket_size) for group, count in group_counts.items()}
    for record_number, serialized, record in _records(path, dataset):
        group = (record.label, record.subgroup)
        yield (*group, bucket_of(record.example_id, buckets[group])), (serialized, file_number, record_number)


class _PatchBucket(beam.DoFn):
    """Adds patched images to the records of one bucket; emits them keyed by output shard."""

    def __init__(
        self,
        files: Sequence[str],
        plan: dict[Group, tuple[str, ...]],
        dataset: Dataset,
        settings: AugmenterSettings,
    ):
        self._files = files
        self._plan = plan
        self._dataset = dataset
        self._settings = settings
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the translators, once for all threads of the worker process."""
        self._translators = self._shared.acquire(
            lambda: Translators(self._plan, self._dataset, self._settings)
        )

    def process(
        self, element: tuple[tuple[int, int, int], Iterable[Source]], shards: int
    ) -> Iterator[tuple[int, bytes]]:
        """Patches a bucket batch by batch."""
        (label, subgroup, _), sources = element
        parsed = [(schema.deserialize(serialized), file, number) for serialized, file, number in sources]
        parsed.sort(key=lambda source: (id_hash(source[0].example_id), source[0].example_id))
        for batch in make_batches(len(parsed), self._settings.batch_size):
            images = [record.image for record, _, _ in parsed[batch]]
            try:
                patched = self._translators.patch(label, subgroup, images)
            except tf.errors.InvalidArgumentError:
                self._name_the_bad_image(parsed[batch])
                raise
            for (record, _, _), versions in zip(parsed[batch], patched, strict=True):
                yield (
                    shard_of(record.example_id, shards),
                    schema.serialize(replace(record, patched_images=versions)),
                )

    def _name_the_bad_image(self, batch: Sequence[tuple[Record, int, int]]) -> None:
        """Raises the error of the first image of a batch that can't be decoded; returns when all can."""
        for record, file, number in batch:
            try:
                schema.decode_image(tf.constant(record.image), self._dataset)
            except tf.errors.InvalidArgumentError as error:
                raise RecordError(
                    f"{self._files[file]}, record {number}, '{record.example_id}': bad image: {_first_line(error)}"
                ) from None


def _write_shard(
    element: tuple[int, Iterable[bytes]], output_dir: str, scratch_dir: str, shards: int
) -> Iterable[tuple[Group, int]]:
    """Writes one output file under its final name, at once; returns the number of its records in each group.

    A worker may be asked twice for a shard, when it was lost or slow. Both write the same bytes, each to its own file.
    """
    shard, entries = element
    records = []
    counts: Counter[Group] = Counter()
    for serialized in entries:
        if serialized:
            record = schema.deserialize(serialized)
            records.append((id_hash(record.example_id), record.example_id, serialized))
            counts[record.label, record.subgroup] += 1
    records.sort(key=lambda entry: entry[:2])
    for before, after in zip(records[:-1], records[1:], strict=True):
        if before[1] == after[1]:
            raise RecordError(f"example_id '{after[1]}' comes twice in the split")

    name = schema.shard_name(shard, shards)
    scratch = f"{scratch_dir}/{name}-{uuid4().hex}"
    with tf.io.TFRecordWriter(scratch, options=schema.COMPRESSION) as writer:
        for _, _, serialized in records:
            writer.write(serialized)
    tf.io.gfile.rename(scratch, f"{output_dir}/{name}", overwrite=True)
    return counts.items()


def _check_counts(
    _: None, group_counts: dict[Group, int], written_counts: dict[Group, int], dataset: Dataset
) -> None:
    """Refuses output that lacks records.

    Beam's local runner loses some when it works with threads or processes (seen with 2.77): a timer empties the buffers
    between stages while they are being filled, without a lock. Its default, in memory, has no such timer.
    """
    for (label, subgroup), count in sorted(group_counts.items()):
        written = written_counts.get((label, subgroup), 0)
        if written != count:
            raise RecordError(
                f"group '{dataset.classes[label]} / {dataset.subgroups[subgroup]}': {written} of {count} records came"
                " through Beam; run again with --direct_running_mode=in_memory"
            )


def _first_line(error: tf.errors.OpError) -> str:
    """Message of a TensorFlow error, without the names of graph nodes that follow it."""
    return error.message.strip().splitlines()[0]
