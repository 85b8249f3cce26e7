"""`model-patching data build`: makes records of a source and shows what came of it.

TensorFlow is loaded once the source's description is known to be right.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from model_patching.components.progress import progress_bar
from model_patching.data.build import BuildError
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.image_settings import ImageSettings
from model_patching.data.source import Source, SourceError
from model_patching.pipelines.console import output_moved_to, say, working_on
from model_patching.pipelines.exit_codes import BAD_INPUT, DONE, INTERRUPTED

LONGEST_LIST = 20  # bad records that are shown; the manifest has all


def build_data(
    make_source: Callable[[], Source],
    output: Path,
    seed: int,
    skip_bad: int,
    beam_pipeline_args: Sequence[str],
    image: ImageSettings,
) -> int:
    """Converts a source's images into records, and prints their counts and where they are.

    Args:
        make_source: gives the source; a SourceError of its is told like those of the conversion.
        output: folder of the records.
        seed: fixes their order, and what is drawn of groups that are limited.
        skip_bad: bad records to skip, at most.
        beam_pipeline_args: options of Apache Beam.
        image: what is done to images that don't fit.

    Returns:
        The command's exit code: 0 done, 2 the source or the folder can't be used, 130 interrupted.
    """

    def build(show: Callable[[str, int, int], None]) -> tuple[dict[str, Any], Dataset]:
        with working_on("reading"):
            source = make_source()
        with working_on("loading TensorFlow"):
            from model_patching.data.convert import convert
        manifest = convert(
            source,
            output,
            seed,
            image=image,
            skip_bad=skip_bad,
            beam_pipeline_args=beam_pipeline_args,
            progress=show,
        )
        return manifest, source.dataset

    return run_build(build, output, (SourceError, BuildError))


def run_build(
    build: Callable[[Callable[[str, int, int], None]], tuple[dict[str, Any], Dataset]],
    output: Path,
    errors: tuple[type[Exception], ...],
) -> int:
    """Runs what makes a folder of records, and prints their counts and where they are.

    Args:
        build: gives the folder's manifest and data set. While it builds it calls its argument with the stage, how far
            that is, and how much there is; a folder that was finished before isn't built.
        output: the folder.
        errors: whose messages are one line for people.

    Returns:
        The command's exit code: 0 done, 2 one of the errors, or the folder can't be written, 130 interrupted.
    """
    try:
        # What TensorFlow and Beam say is nobody's concern here.
        with output_moved_to(Path(os.devnull)):
            with _Bars() as bars:
                manifest, dataset = build(bars.show)
            _say_result(manifest, output, dataset, built=bars.shown)
    except errors as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"{error.filename or output}: can't be written: {error.strerror or error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"interrupted; {output} is as it was before", file=sys.stderr)
        return INTERRUPTED
    return DONE


def counts_table(counts: dict[str, list[list[int]]], dataset: Dataset) -> Table:
    """A row a group and a column a split, with the sums below.

    Args:
        counts: records of each split's groups, [C][K].
        dataset: names the groups.
    """
    table = Table()
    table.add_column("group", no_wrap=True)
    for split in counts:
        table.add_column(escape(split), justify="right", no_wrap=True)
    of_splits = [sum(of_split, []) for of_split in counts.values()]
    for group, name in enumerate(dataset.group_names):
        table.add_row(escape(name), *(f"{of_split[group]:,}" for of_split in of_splits))
    table.add_section()
    table.add_row("all", *(f"{sum(of_split):,}" for of_split in of_splits))
    return table


class _Bars:
    """A progress bar for each stage of a conversion, one after the other."""

    def __init__(self) -> None:
        self.shown = False
        self._stage = ""
        self._done = 0
        self._open = ExitStack()

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def show(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage has come."""
        self.shown = True
        if stage != self._stage:
            self._open.close()
            self._stage, self._done = stage, 0
            self._bar = self._open.enter_context(progress_bar(stage, total))
        self._bar.advance(done - self._done)
        self._done = done


def _say_result(manifest: dict[str, Any], output: Path, dataset: Dataset, built: bool) -> None:
    """Prints counts, warnings, skipped records and the folder."""
    import rich

    rich.get_console().print(counts_table({split: manifest["counts"][split] for split in SPLITS}, dataset))
    for warning in manifest.get("warnings", []):
        say(f"warning: {warning}", style="yellow")
    skipped = manifest.get("skipped", [])
    for bad in skipped[:LONGEST_LIST]:
        say(f"skipped: {bad['place']}: {bad['reason']}", style="yellow")
    if len(skipped) > LONGEST_LIST:
        say(f"skipped: {len(skipped) - LONGEST_LIST} more, see {output / 'manifest.json'}", style="yellow")
    say(f"{output}" if built else f"{output}: nothing to do, it was made of the same before")
