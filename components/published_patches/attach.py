"""The Beam pipeline of PublishedPatches: records of a split in, the same records with published patched images out.

1. *Survey* reads the record files for the groups and ids of their records, and the published folders for the number and
   labels of theirs.
2. *Layout* compares the numbers, finds out in which order the patched images lie (`find_order.py`), and decides which
   records share an output file (`layout.py`).
3. *Sort* reads the record files again and leaves the records in scratch files, sorted by output file.
4. *Attach* makes each output file: it goes through its records and their patched images side by side.

As in the Augmenter, only short descriptions pass through Beam, a worker holds the records of one output file, and equal
input gives equal files with every runner and number of workers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import apache_beam as beam
import numpy as np
import tensorflow as tf

from model_patching.components.augmenter.layout import Group
from model_patching.components.augmenter.source import SourceRecord, places, read
from model_patching.components.published_patches.find_order import (
    Candidate,
    candidates,
    find_order,
    sample_places,
)
from model_patching.components.published_patches.folders import (
    PatchedGroup,
    PatchesError,
    find_groups,
    in_words,
)
from model_patching.components.published_patches.layout import Layout
from model_patching.components.published_patches.resemblance import thumbnail
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.components.published_patches.shards import PatchedFolder, decode, read_images, survey
from model_patching.data import schema
from model_patching.data.beam_errors import lost
from model_patching.data.dataset import Dataset
from model_patching.data.pieces import Piece, read_piece, write_pieces
from model_patching.data.schema import RecordError
from model_patching.data.source_order import Place, SourceOrder, group_code
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.truncation import is_truncated

Folders = tuple[PatchedFolder, PatchedFolder]


@dataclass(frozen=True)
class _Split:
    """All that the steps must know of a split; it is sent to the workers.

    Attributes:
        name: of the split.
        files: its record files.
        order: of the records of all splits, in the source that the files were built from.
        codes: of the groups in `order`.
        patched: folders of each group that has records.
        expected: patched images that each of them must hold.
        candidates: for the order of the records.
    """

    name: str
    files: tuple[str, ...]
    order: SourceOrder
    codes: dict[Group, int]
    patched: dict[Group, PatchedGroup]
    expected: dict[Group, int]
    candidates: tuple[Candidate, ...]
    dataset: Dataset
    settings: PatchingSettings
    places_per_file: int


@dataclass(frozen=True)
class _Records:
    """What a record file was found to hold.

    Attributes:
        numbers: for each group and part of the source the numbers of its records there, int64 [n].
        thumbnails: of the records that the candidates name, by id.
    """

    numbers: dict[tuple[Group, str], np.ndarray]
    thumbnails: dict[str, np.ndarray]


class AttachPatches(beam.PTransform):
    """Reads a split's files, adds the published patched images to each record, and writes the records to new files.

    Applied to a pipeline, it writes `<output_dir>/data-00000-of-0000N.tfrecord.gz`, each under that name at once; its
    result is one element, how many files were read at once when the images were made. Where only the first records of
    a group of the training split were patched, the others are left out, which gives the published undersampled data
    set. Of the other splits, all records must have been patched.

    Raises while running:
        RecordError: a file or record is damaged, or an id comes twice.
        SourceError: a published file can't be read to its end.
        PatchesError: the patched images aren't as many as the records, or of another label, size or order.
    """

    def __init__(
        self,
        files: Sequence[str],
        output_dir: str,
        scratch_dir: str,
        split: str,
        order: SourceOrder,
        dataset: Dataset,
        settings: PatchingSettings,
        places_per_file: int,
    ):
        """Takes the files of one split and finds its published folders.

        Args:
            files: gzip TFRecord files.
            output_dir: folder of the new files; it exists.
            scratch_dir: existing folder on the same file system, for the caller to remove when the pipeline has ended.
                It gets the size of the source files, uncompressed.
            split: its name.
            order: of the records of all splits in the source that `files` were built from.
            dataset: classes, subgroups and image shape.
            settings: where the patched images are.
            places_per_file: records of an output file, at most.

        Raises:
            PatchesError: a group has no published folders, or several.
        """
        super().__init__()
        self._output_dir = output_dir
        self._scratch_dir = scratch_dir
        codes = _group_codes(split, dataset)
        counts = source_counts(order, split, dataset)
        patched = find_groups(str(settings.folder), settings.prefer, split, counts, dataset)
        expected = {
            group: counts[group] if found.take is None else min(found.take, counts[group])
            for group, found in patched.items()
        }
        self._split = _Split(
            name=split,
            files=tuple(sorted(files)),
            order=order,
            codes=codes,
            patched=patched,
            expected=expected,
            candidates=tuple(candidates(order, codes, expected)),
            dataset=dataset,
            settings=settings,
            places_per_file=places_per_file,
        )

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Builds the graph."""
        split = self._split
        files = pipeline | "Files" >> beam.Create(split.files, reshuffle=True)
        folders = pipeline | "Folders" >> beam.Create(
            [(group, subgroup) for group in split.patched for subgroup in range(2)], reshuffle=True
        )
        layout = beam.pvalue.AsSingleton(
            pipeline
            | "Once" >> beam.Create([None])
            | "Layout"
            >> beam.Map(
                _layout,
                beam.pvalue.AsList(files | "Survey" >> beam.Map(_survey_records, split)),
                beam.pvalue.AsList(folders | "SurveyPatches" >> beam.Map(_survey_folder, split)),
                split,
            )
        )
        written = (
            files
            | "Sort" >> beam.FlatMap(_sort, split, self._scratch_dir, layout)
            | "ByOutputFile" >> beam.GroupByKey()
            | "Attach" >> beam.ParDo(_AttachFile(split, self._output_dir, self._scratch_dir), layout)
        )
        return (
            pipeline
            | "AtTheEnd" >> beam.Create([None])
            | "NothingLost" >> beam.Map(_check_files, beam.pvalue.AsList(written), layout)
        )


def source_counts(order: SourceOrder, split: str, dataset: Dataset) -> dict[Group, int]:
    """Records of each group of a split in the source, of those that have any."""
    codes = _group_codes(split, dataset)
    return {group: order.count(code) for group, code in codes.items() if order.count(code)}


def _group_codes(split: str, dataset: Dataset) -> dict[Group, int]:
    """What stands for each group of a split in a `SourceOrder`."""
    return {
        divmod(group, dataset.num_subgroups): group_code(split, group, dataset.num_groups)
        for group in range(dataset.num_groups)
    }


def _survey_records(path: str, split: _Split) -> _Records:
    """Groups, places in the source and some thumbnails of the records of a file."""
    wanted = {
        example_id for candidate in split.candidates for ids in candidate.ids.values() for example_id in ids
    }
    numbers: dict[tuple[Group, str], list[int]] = {}
    thumbnails = {}
    count = 0
    for count, record in enumerate(read(path, split.dataset), start=1):
        part, number = _place(record, f"{path}, record {count - 1}", split)
        numbers.setdefault((record.group, part), []).append(number)
        if record.example_id in wanted:
            where = f"{path}, record {count - 1}, '{record.example_id}'"
            thumbnails[record.example_id] = _thumbnail(record, where, split.dataset)
    if is_truncated(path):
        raise RecordError(f"{path}: the file is cut off after {count} records")
    return _Records({key: np.array(values, np.int64) for key, values in numbers.items()}, thumbnails)


def _place(record: SourceRecord, where: str, split: _Split) -> Place:
    """Where a record lay in the source."""
    place = split.order.place(record.example_id)
    if place is None or split.order.codes[place[0]][place[1]] != split.codes[record.group]:
        raise RecordError(
            f"{where}: '{record.example_id}' is no record of {in_words(record.group, split.name, split.dataset)} in "
            "source_order.npz: the records must be those that were built with it"
        )
    return place


def _thumbnail(record: SourceRecord, where: str, dataset: Dataset) -> np.ndarray:
    image = schema.deserialize(record.serialized).image
    try:
        return thumbnail(schema.decode_image(tf.constant(image), dataset))
    except tf.errors.InvalidArgumentError as error:
        raise RecordError(f"{where}: bad image: {first_line(error)}") from None


def _survey_folder(key: tuple[Group, int], split: _Split) -> tuple[Group, int, PatchedFolder]:
    """What the folder with a group's images in one subgroup holds."""
    group, subgroup = key
    wanted = frozenset(sample_places(split.expected[group]))
    folder = split.patched[group].folders[subgroup]
    return group, subgroup, survey(folder, group[0], wanted, split.dataset)


def _layout(
    _: None,
    records: Sequence[_Records],
    folders: Sequence[tuple[Group, int, PatchedFolder]],
    split: _Split,
) -> Layout:
    """Output files of a split. It takes the memory of a few bytes a record of the source."""
    if len(records) != len(split.files) or len(folders) != 2 * len(split.patched):
        raise RecordError(lost(f"{len(records)} of {len(split.files)} surveys of files"))
    found = {(group, subgroup): folder for group, subgroup, folder in folders}
    pairs = {group: (found[group, 0], found[group, 1]) for group in split.patched}
    for group, pair in pairs.items():
        for folder in pair:
            _check_count(folder, group, split)
    files_at_once = find_order(
        split.candidates,
        {example_id: one for of_file in records for example_id, one in of_file.thumbnails.items()},
        pairs,
        split.settings,
    )
    ranks = split.order.ranks(files_at_once)
    places = {
        group: _patched_places(group, [of_file.numbers for of_file in records], ranks, split)
        for group in split.patched
    }
    without_thumbnails = {
        group: (replace(pair[0], thumbnails={}), replace(pair[1], thumbnails={}))
        for group, pair in pairs.items()
    }
    layout = Layout(places, without_thumbnails, ranks, files_at_once, split.places_per_file)
    if not layout.files:
        raise RecordError(f"{', '.join(split.files)}: no records")
    return layout


def _check_count(folder: PatchedFolder, group: Group, split: _Split) -> None:
    """Refuses patched images that are too few or too many."""
    expected = split.expected[group]
    if folder.count != expected:
        first = "" if split.patched[group].take is None else "the first "
        raise PatchesError(
            f"{folder.folder}: {folder.count:,} patched images, but they must be those of {first}{expected:,} records, "
            f"{in_words(group, split.name, split.dataset)}"
        )


def _patched_places(
    group: Group,
    numbers: Sequence[dict[tuple[Group, str], np.ndarray]],
    ranks: dict[str, np.ndarray],
    split: _Split,
) -> np.ndarray:
    """Places in the group's folders of those of its records that have patched images."""
    all_places = [
        ranks[part][of_part]
        for of_file in numbers
        for (of_group, part), of_part in of_file.items()
        if of_group == group
    ]
    of_group = np.concatenate([*all_places, np.zeros(0, np.int64)])
    unique, counts = np.unique(of_group, return_counts=True)
    if len(unique) != len(of_group):
        _name_the_double(group, int(unique[counts > 1][0]), ranks, split)
    patched = of_group[of_group < split.expected[group]]
    left_out = len(of_group) - len(patched)
    if left_out and len(patched) < split.expected[group]:
        raise PatchesError(
            f"{split.patched[group].folders[0]}: has patched images of the first {split.expected[group]:,} records of "
            f"{in_words(group, split.name, split.dataset)}; of these {len(patched):,} were built, and {left_out:,} "
            "others: build the records with --take none"
        )
    return patched


def _name_the_double(group: Group, place: int, ranks: dict[str, np.ndarray], split: _Split) -> None:
    """Raises the error of two records with the same id."""
    (example_id,) = split.order.ids_at(ranks, split.codes[group], [place])
    (first, number), (second, other_number) = places(example_id, split.files, split.dataset)[:2]
    raise RecordError(
        f"{second}, record {other_number}: example_id '{example_id}' comes twice in the split, first in {first}, "
        f"record {number}"
    )


def _sort(path: str, split: _Split, scratch_dir: str, layout: Layout) -> Iterator[tuple[int, Piece]]:
    """Leaves the records of a file that have patched images where the makers of the output files find them."""

    def records() -> Iterator[tuple[int, bytes]]:
        for record in read(path, split.dataset):
            number = layout.file_number(record.group, split.order.place(record.example_id))
            if number is not None:
                yield number, record.serialized

    # A worker may be asked twice, when it was lost or slow: each attempt has its own scratch files.
    return write_pieces(records(), f"{scratch_dir}/{uuid4().hex}")


class _AttachFile(beam.DoFn):
    """Makes one output file from the pieces of its records; emits its number."""

    def __init__(self, split: _Split, output_dir: str, scratch_dir: str):
        self._split = split
        self._output_dir = output_dir
        self._scratch_dir = scratch_dir

    def process(self, element: tuple[int, Iterable[Piece]], layout: Layout) -> Iterator[int]:
        """Writes the records of one output file with their patched images, in the order of these."""
        number, pieces = element
        file = layout.files[number]
        records = {}
        for piece in pieces:
            for serialized in read_piece(piece):
                record = schema.deserialize(serialized)
                records[layout.rank(self._split.order.place(record.example_id))] = record
        if len(records) != file.count:
            raise RecordError(lost(f"{len(records)} of {file.count} records of an output file"))

        name = schema.shard_name(number, len(layout.files))
        scratch = f"{self._scratch_dir}/{name}-{uuid4().hex}"
        in_each_subgroup = [
            read_images(folder.shards, file.first, file.end) for folder in layout.folders[file.group]
        ]
        with tf.io.TFRecordWriter(scratch, options=schema.LIGHT_COMPRESSION) as writer:
            for rank, patched in enumerate(zip(*in_each_subgroup, strict=True), start=file.first):
                if rank not in records:
                    continue
                for where, image in patched:
                    decode(image, where, self._split.dataset)
                images = tuple(image for _, image in patched)
                writer.write(schema.serialize(replace(records[rank], patched_images=images)))
        tf.io.gfile.rename(scratch, f"{self._output_dir}/{name}", overwrite=True)
        yield number


def _check_files(_: None, written: Sequence[int], layout: Layout) -> int:
    """Refuses output that lacks files; returns how many files were read at once."""
    if len(set(written)) != len(layout.files):
        raise RecordError(lost(f"{len(set(written))} of {len(layout.files)} output files"))
    return layout.files_at_once
