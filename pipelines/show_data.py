"""`model-patching data show`: what a folder of records holds, as a table and a contact sheet.

TensorFlow is loaded once it is known that the folder has files of records.
"""

import os
import sys
from pathlib import Path

import rich

from model_patching.data.dataset import Dataset
from model_patching.data.source import SourceError
from model_patching.pipelines.build_data import counts_table
from model_patching.pipelines.console import output_moved_to, say, working_on
from model_patching.pipelines.exit_codes import BAD_INPUT, DONE

MOST_COLUMNS = 60  # so many samples of a group are kept while it isn't known yet how many fit


def show_data(
    folder: Path, output: Path, split: str | None, columns: int | None, dataset: Dataset | None = None
) -> int:
    """Prints the counts of each group and split, and draws the contact sheet of one split.

    Args:
        folder: of records, built or not; an Examples artifact; or one split of these.
        output: the PNG to write; its folder is made.
        split: to be drawn; None for the first.
        columns: images of each group, before their renditions; None for as many as fit.
        dataset: names the groups; None for what the folder's manifest says.

    Returns:
        The command's exit code: 0 done, 2 an argument or the records are wrong, or the sheet can't be written.
    """
    try:
        if not folder.is_dir():
            raise SourceError(f"{folder}: there is no such folder")
        with output_moved_to(Path(os.devnull)):
            with working_on("loading TensorFlow"):
                from model_patching.data.contact_sheet import columns_that_fit, draw_contact_sheet
                from model_patching.data.overview import find_files, overview
            splits = list(find_files(folder))
            if split is not None and split not in splits:
                raise SourceError(f"--split {split}: {folder} has {', '.join(splits)}")
            drawn = split or splits[0]
            with working_on("reading"):
                found = overview(folder, drawn, columns or MOST_COLUMNS, dataset)
            rich.get_console().print(counts_table(found.counts, found.dataset))
            patched = any(record.patched_images for of_group in found.samples for record in of_group)
            total = sum(sum(row) for row in found.counts[drawn])
            sheet = draw_contact_sheet(
                f"{_title(folder)}: {drawn}, {total:,} records",
                found.dataset,
                found.samples,
                found.counts[drawn],
                columns or columns_that_fit(found.dataset, patched),
            )
            output.parent.mkdir(parents=True, exist_ok=True)
            sheet.save(output, "PNG")
            say(str(output))
    except SourceError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"{output}: can't be written: {error.strerror or error}", file=sys.stderr)
        return BAD_INPUT
    return DONE


def _title(folder: Path) -> str:
    """Name of a folder; of an artifact also its node's: "Augmenter/examples/7"."""
    parts = folder.resolve().parts
    return "/".join(parts[-3:]) if parts[-1].isdigit() else parts[-1]
