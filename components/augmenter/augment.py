"""The Augmenter's Beam pipeline: records of a split in, the same records with patched images out.

1. *Survey* reads the files for the groups and ids of their records.
2. *Layout* decides from them which records share a batch and an output file (`layout.py`).
3. *Sort* reads the files again and leaves the records in scratch files, sorted by output file (`pieces.py`).
4. *Patch* makes each output file: it puts the file's records through the translators, batch by batch.

Only short descriptions pass through Beam, never a record: a worker holds the records of one output file, whatever the
size of the split. Equal records give equal files, byte for byte, with every runner and number of workers.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import apache_beam as beam
import numpy as np
import tensorflow as tf

from model_patching.components.augmenter.layout import Group, Layout
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.source import places, read
from model_patching.components.augmenter.translators import SharedTranslators
from model_patching.data import schema
from model_patching.data.beam_errors import lost
from model_patching.data.dataset import Dataset
from model_patching.data.id_hash import id_hash
from model_patching.data.pieces import Piece, read_piece, write_pieces
from model_patching.data.schema import Record, RecordError
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.truncation import is_truncated

BATCHES_AT_ONCE = 2  # the images of one are decoded or encoded while the other is translated

Survey = dict[Group, np.ndarray]  # hash of each id of the group, uint64 [n]


class PatchSplit(beam.PTransform):
    """Reads a split's files, adds the patched images to each record, and writes the records to new files.

    Applied to a pipeline, it writes `<output_dir>/data-00000-of-0000N.tfrecord.gz`, each under that name at once.

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
        translators: SharedTranslators,
        dataset: Dataset,
        settings: AugmenterSettings,
    ):
        """Takes the files of one split.

        Args:
            files: gzip TFRecord files.
            output_dir: folder of the new files; it exists.
            scratch_dir: existing folder on the same file system, for the caller to remove when the pipeline has ended.
                It gets the size of the source files, uncompressed.
            translators: for every group; the same object for every split, so that they are loaded once.
            dataset: classes, subgroups and image shape.
            settings: sizes of batches and files, and image format.
        """
        super().__init__()
        self._files = sorted(files)
        self._output_dir = output_dir
        self._scratch_dir = scratch_dir
        self._translators = translators
        self._dataset = dataset
        self._settings = settings

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Builds the graph; its result is one element that comes when every record is written."""
        files = pipeline | "Files" >> beam.Create(self._files, reshuffle=True)
        layout = beam.pvalue.AsSingleton(
            files
            | "Survey" >> beam.Map(_survey, self._dataset)
            | "Surveys" >> beam.combiners.ToList()
            | "Layout" >> beam.Map(_layout, self._files, self._dataset, self._settings)
        )
        written = (
            files
            | "Sort" >> beam.FlatMap(_sort, self._dataset, self._scratch_dir, layout)
            | "ByOutputFile" >> beam.GroupByKey()
            | "Patch"
            >> beam.ParDo(
                _PatchFile(
                    self._files,
                    self._output_dir,
                    self._scratch_dir,
                    self._translators,
                    self._dataset,
                    self._settings,
                ),
                layout,
            )
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "NothingLost" >> beam.Map(_check_files, beam.pvalue.AsList(written), layout)
        )


def _survey(path: str, dataset: Dataset) -> Survey:
    """Groups and hashed ids of the records of a file."""
    hashes: dict[Group, list[int]] = {}
    for record in read(path, dataset):
        hashes.setdefault(record.group, []).append(id_hash(record.example_id))
    if is_truncated(path):
        count = sum(len(group) for group in hashes.values())
        raise RecordError(f"{path}: the file is cut off after {count} records")
    return {group: np.array(values, np.uint64) for group, values in hashes.items()}


def _layout(
    surveys: Sequence[Survey], files: Sequence[str], dataset: Dataset, settings: AugmenterSettings
) -> Layout:
    """Batches and output files of a split. It takes the memory of 8 bytes a record."""
    if len(surveys) != len(files):
        raise RecordError(lost(f"{len(surveys)} of {len(files)} surveys of files"))
    groups = {group for survey in surveys for group in survey}
    if not groups:
        raise RecordError(f"{', '.join(files)}: no records")
    hashes = {
        group: np.concatenate([survey[group] for survey in surveys if group in survey]) for group in groups
    }
    ordered = np.sort(np.concatenate(list(hashes.values())))
    for twice in ordered[:-1][ordered[:-1] == ordered[1:]]:
        _check_for_a_double(int(twice), files, dataset)
    return Layout(hashes, settings.batch_size, settings.records_per_shard)


def _check_for_a_double(hash_of_two: int, files: Sequence[str], dataset: Dataset) -> None:
    """Raises the error of two records with the same id; returns if only the hashes of their ids are the same."""
    seen = set()
    for path in files:
        for record in read(path, dataset):
            if id_hash(record.example_id) == hash_of_two:
                if record.example_id in seen:
                    (first, number), (second, other_number) = places(record.example_id, files, dataset)[:2]
                    raise RecordError(
                        f"{second}, record {other_number}: example_id '{record.example_id}' comes twice in the split,"
                        f" first in {first}, record {number}"
                    )
                seen.add(record.example_id)


def _sort(path: str, dataset: Dataset, scratch_dir: str, layout: Layout) -> Iterator[tuple[int, Piece]]:
    """Leaves the records of a file where the makers of the output files find them."""
    records = (
        (layout.file_number(record.group, id_hash(record.example_id)), record.serialized)
        for record in read(path, dataset)
    )
    # A worker may be asked twice, when it was lost or slow: each attempt has its own scratch files.
    return write_pieces(records, f"{scratch_dir}/{uuid4().hex}")


class _PatchFile(beam.DoFn):
    """Makes one output file from the pieces of its records; emits its number."""

    def __init__(
        self,
        files: Sequence[str],
        output_dir: str,
        scratch_dir: str,
        translators: SharedTranslators,
        dataset: Dataset,
        settings: AugmenterSettings,
    ):
        self._files = files
        self._output_dir = output_dir
        self._scratch_dir = scratch_dir
        self._shared_translators = translators
        self._dataset = dataset
        self._settings = settings

    def setup(self) -> None:
        """Loads the translators, unless this process has them."""
        self._translators = self._shared_translators.load()

    def process(self, element: tuple[int, Iterable[Piece]], layout: Layout) -> Iterator[int]:
        """Patches and writes the records of one output file, sorted by the hash of their ids."""
        number, pieces = element
        file = layout.files[number]
        records = [schema.deserialize(serialized) for piece in pieces for serialized in read_piece(piece)]
        if len(records) != file.count:
            raise RecordError(lost(f"{len(records)} of {file.count} records of an output file"))
        records.sort(key=lambda record: (id_hash(record.example_id), record.example_id))

        name = schema.shard_name(number, len(layout.files))
        scratch = f"{self._scratch_dir}/{name}-{uuid4().hex}"
        batches = _cut(records, file.batch_starts)
        with (
            tf.io.TFRecordWriter(scratch, options=schema.LIGHT_COMPRESSION) as writer,
            ThreadPoolExecutor(BATCHES_AT_ONCE) as pool,
        ):
            for batch, patched in zip(batches, pool.map(self._patch, batches), strict=True):
                for record, versions in zip(batch, patched, strict=True):
                    writer.write(schema.serialize(replace(record, patched_images=versions)))
        tf.io.gfile.rename(scratch, f"{self._output_dir}/{name}", overwrite=True)
        yield number

    def _patch(self, batch: Sequence[Record]) -> list[tuple[bytes, ...]]:
        """Patched images of the records of one batch."""
        try:
            return self._translators.patch(
                batch[0].label, batch[0].subgroup, [record.image for record in batch]
            )
        except tf.errors.InvalidArgumentError:
            self._name_the_bad_image(batch)
            raise

    def _name_the_bad_image(self, batch: Sequence[Record]) -> None:
        """Raises the error of the first image of a batch that can't be decoded; returns when all can."""
        for record in batch:
            try:
                schema.decode_image(tf.constant(record.image), self._dataset)
            except tf.errors.InvalidArgumentError as error:
                path, number = places(record.example_id, self._files, self._dataset)[0]
                raise RecordError(
                    f"{path}, record {number}, '{record.example_id}': bad image: {first_line(error)}"
                ) from None


def _cut(records: Sequence[Record], batch_starts: Sequence[int]) -> list[Sequence[Record]]:
    """Cuts sorted records into batches, each from the record whose hash is its start."""
    hashes = [id_hash(record.example_id) for record in records]
    bounds = [*np.searchsorted(np.array(hashes, np.uint64), np.array(batch_starts, np.uint64)), len(records)]
    return [records[start:end] for start, end in itertools.pairwise(bounds)]


def _check_files(_: None, written: Sequence[int], layout: Layout) -> None:
    """Refuses output that lacks files."""
    if len(set(written)) != len(layout.files):
        raise RecordError(lost(f"{len(set(written))} of {len(layout.files)} output files"))
