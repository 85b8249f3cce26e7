"""Turns any source of images into the project's records, by Apache Beam.

1. *Survey* reads every part of the source for the groups and ids of its images.
2. *Layout* decides from them which images are taken, in which order, and which output file each goes to.
3. *Convert* reads the parts again, brings the images to the wanted shape, and leaves the records in scratch files,
   sorted by output file (`pieces.py`).
4. *Write* makes each output file.

Each step is a module of `conversion/`.

Only short descriptions pass through Beam, never an image, so that memory doesn't grow with the source. A split's order
and what is taken of it follow from hashes of seed and id alone: equal sources give equal files, byte for byte, with
every runner and number of workers, and images that were neighbours in the source are not.
"""

import inspect
import io
import pickle
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from uuid import uuid4

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from model_patching.data import beam_progress
from model_patching.data import build as data_build
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.beam_errors import plain_error
from model_patching.data.beam_progress import Progress
from model_patching.data.beam_runner import IN_PROCESS_RUNNER
from model_patching.data.build import BuildError
from model_patching.data.conversion.bad import check_not_too_many
from model_patching.data.conversion.job import READING, STAGES, Job
from model_patching.data.conversion.layout import lay_out
from model_patching.data.conversion.records import convert_part
from model_patching.data.conversion.result import finish
from model_patching.data.conversion.survey import survey_part
from model_patching.data.conversion.write import write_file
from model_patching.data.dataset import SPLITS
from model_patching.data.image_settings import ImageSettings
from model_patching.data.imported_files import module_files
from model_patching.data.source import BadRecord, Source, SourceError
from model_patching.data.source_order import write_source_order

AS_FOUND = ImageSettings()


def convert(
    source: Source,
    output_dir: str | Path,
    seed: int,
    *,
    image: ImageSettings = AS_FOUND,
    skip_bad: int = 0,
    beam_pipeline_args: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the images of a source as gzip TFRecords, and then `manifest.json`.

    An interrupted conversion leaves nothing at `output_dir`, a finished one isn't touched: see `build.build_folder`.
    While it works it needs twice the room of the records.

    Args:
        source: gives the images.
        output_dir: the folder to make; shards as in `schema.shard_path`.
        seed: fixes the order of the records, and which are drawn where `source.takes` limits a group.
        image: what is done to images that don't have the data set's shape.
        skip_bad: bad records that are left out, at most; one more is an error.
        beam_pipeline_args: options of Apache Beam. Without a --runner everything runs in this process.
        progress: called from another thread with what is being done, how far it is, and how much there is; at least
            once, unless the folder was finished already.

    Returns:
        Content of `manifest.json`: `name`, `dataset`, `counts` of each split's groups, [C][K]; `skipped`, the bad
        records, each with `place` and `reason`; `warnings`; `citation` and `licence`; and what every manifest has.
        Where `source.keeps_order`, `source_order.npz` lies beside it, see `source_order.py`.

    Raises:
        SourceError: the source can't be read, has too many bad records, or a split has no images.
        BuildError: `output_dir` holds something else or can't be written.
    """
    try:
        manifest = data_build.build_folder(
            Path(output_dir),
            conversion_inputs(source, seed, image),
            lambda folder: _convert(source, folder, seed, image, skip_bad, beam_pipeline_args, progress),
        )
    except OSError as error:
        raise BuildError(
            f"{error.filename or output_dir}: can't be written: {error.strerror or error}"
        ) from error
    bad = [BadRecord(**record) for record in manifest["skipped"]]
    check_not_too_many(bad, skip_bad)  # the folder may have been there, made with a larger skip_bad
    return manifest


def conversion_inputs(source: Source, seed: int, image: ImageSettings = AS_FOUND) -> dict[str, Any]:
    """Everything that decides what `convert` writes, as JSON values.

    Raises:
        SourceError: the source can't be read.
    """
    return {
        "source": source.inputs(),
        "image": image.model_dump(mode="json"),
        "seed": seed,
        "code": _code(source),
    }


def _code(source: Source) -> str:
    """Hash of the code that decides what is written: the conversion's and the reader's, with all that they import."""
    readers = [kind for kind in type(source).__mro__ if issubclass(kind, Source)]
    files = module_files([__name__, *(reader.__module__ for reader in readers)])
    # A reader may also come from outside this project.
    return data_build.source_hash([*files, *(Path(inspect.getfile(reader)) for reader in readers)])


def _convert(
    source: Source,
    folder: Path,
    seed: int,
    image: ImageSettings,
    skip_bad: int,
    beam_pipeline_args: Sequence[str],
    progress: Progress | None,
) -> dict[str, Any]:
    """Fills the folder; returns what the manifest says of it."""
    parts = source.parts()
    scratch = folder / ".scratch"
    scratch.mkdir()
    for split in SPLITS:
        (folder / split).mkdir()
    job = Job(
        str(scratch / f"source-{uuid4().hex}"),
        source.dataset,
        source.keeps_order,
        seed,
        image,
        skip_bad,
        str(folder),
        str(scratch),
    )
    Path(job.source_file).write_bytes(pickle.dumps(source))
    beam_progress.set_total(scratch, READING, len(parts))

    pipeline = _new_pipeline(beam_pipeline_args)
    turn_off_timed_flush()
    try:
        with beam_progress.watched(scratch, STAGES, progress), pipeline:
            _build_graph(pipeline, list(enumerate(parts)), job)
    except Exception as error:
        plain = plain_error(error, (SourceError, BuildError))
        if plain is None:
            raise
        if isinstance(plain, RuntimeError):
            plain = BuildError(f"{plain}: take fewer with --direct_num_workers")
        raise plain from error

    result = pickle.loads((scratch / "result").read_bytes())
    shutil.rmtree(scratch)
    if source.keeps_order:
        write_source_order(folder, dict(zip(parts, result.source_order, strict=True)))
    return {
        "name": source.name,
        "dataset": source.dataset.model_dump(mode="json"),
        "counts": result.counts,
        "skipped": [{"place": bad.place, "reason": bad.reason} for bad in result.bad],
        "warnings": _unexpected(result.counts, source),
        "citation": source.citation,
        "licence": source.licence,
    }


def _new_pipeline(arguments: Sequence[str]) -> beam.Pipeline:
    """An empty pipeline with Beam's options.

    Raises:
        BuildError: an option has a value that Beam doesn't take.
    """
    if not any(argument.startswith("--runner") for argument in arguments):
        arguments = [IN_PROCESS_RUNNER, *arguments]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options = PipelineOptions(list(arguments))
            options.get_all_options()
            return beam.Pipeline(options=options)
    except (SystemExit, ValueError) as error:  # argparse prints what is wrong, and exits
        reason = said.getvalue().strip().rpartition("\n")[2].partition("error: ")[2] or error
        raise BuildError(f"Beam doesn't take its options: {reason}") from None


def _build_graph(pipeline: beam.Pipeline, parts: list[tuple[int, str]], job: Job) -> None:
    """Adds the four steps, and one that leaves a `Result` in the file `result`."""
    numbered = pipeline | "Parts" >> beam.Create(parts, reshuffle=True)
    layouts = (
        numbered
        | "Survey" >> beam.Map(survey_part, job)
        | "Surveys" >> beam.combiners.ToList()
        | "Layout" >> beam.Map(lay_out, parts, job)
    )
    layout = beam.pvalue.AsSingleton(layouts)
    converted = numbered | "Convert" >> beam.FlatMap(convert_part, job, layout).with_outputs(
        "bad", main="pieces"
    )
    every_file = layouts | "Files" >> beam.FlatMap(
        lambda layout: [(number, None) for number in range(len(layout.files))]
    )
    written = (
        (converted.pieces, every_file)
        | beam.Flatten()
        | "ByOutputFile" >> beam.GroupByKey()
        | "Write" >> beam.Map(write_file, job, layout)
    )
    _ = (
        pipeline
        | "Once" >> beam.Create([None])
        | "NothingLost"
        >> beam.Map(finish, beam.pvalue.AsList(written), beam.pvalue.AsList(converted.bad), layout, job)
    )


def _unexpected(counts: dict[str, list[list[int]]], source: Source) -> list[str]:
    """A line for each group whose size isn't the published one."""
    expected = source.expected_counts()
    if expected is None:
        return []
    names = source.dataset.group_names
    return [
        f"group '{names[group]}' of {split}: {found} images, published are {published}"
        for split in SPLITS
        for group, (found, published) in enumerate(
            zip(np.ravel(counts[split]).tolist(), np.ravel(expected[split]).tolist(), strict=True)
        )
        if found != published
    ]
