"""`model-patching data …`: makes data sets and shows them. TensorFlow is loaded only where it does."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from model_patching.data.celeba import PUBLISHED_PAIR, PUBLISHED_TAKES, Task, celeba
from model_patching.data.celeba import PUBLISHED_SIZE as CELEBA_SIZE
from model_patching.data.dataset import SPLITS
from model_patching.data.folder import FolderColumns, FolderSource
from model_patching.data.image_settings import ImageSettings
from model_patching.data.source import Source, SourceError
from model_patching.data.waterbirds import PUBLISHED_SIZE as WATERBIRDS_SIZE
from model_patching.data.waterbirds import waterbirds as waterbirds_source
from model_patching.pipelines.build_data import build_data
from model_patching.pipelines.config import LARGEST_SEED, ConfigError, load_config
from model_patching.pipelines.console import working_on
from model_patching.pipelines.exit_codes import BAD_INPUT, INTERRUPTED
from model_patching.pipelines.fetch_archive import MIRROR, source_folder

data_app = typer.Typer(no_args_is_help=True, help="Make data sets, and look at them.")
build_app = typer.Typer(
    no_args_is_help=True,
    help="Make the records of a data set: gzip TFRecords in train/, validation/ and test/, and manifest.json.\n\n"
    "Exit codes: 0 done, 2 the source or the folder can't be used and nothing was written, 130 interrupted.",
)
data_app.add_typer(build_app, name="build")

Output = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Folder of the records; a new or empty one.")
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Fixes what is drawn, and the records' order.")
]
SkipBad = Annotated[
    int, typer.Option("--skip-bad", min=0, metavar="N", help="Leave out and list N bad records, at most.")
]
BeamArgs = Annotated[
    list[str],
    typer.Option("--beam-arg", metavar="OPTION", help="Of Apache Beam: --beam-arg=--direct_num_workers=4."),
]
Crop = Annotated[
    bool, typer.Option("--crop", help="Before scaling, cut the images to the records' proportions, centred.")
]
SquareCrop = Annotated[
    bool | None,
    typer.Option(
        "--crop/--no-crop",
        help="Before scaling, cut images to a square, centred; unless given, CelebA's are, Waterbirds' aren't.",
    ),
]
SourceDir = Annotated[
    Path | None,
    typer.Option(
        "--source",
        metavar="DIR",
        help="What was downloaded; with --download where to, downloads/ unless given.",
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch and unpack the published archive, if it isn't there.")
]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help=f"Folder that has the archive, in place of the published one; or in {MIRROR}.",
    ),
]
Keep = Annotated[
    list[str],
    typer.Option(
        "--keep",
        metavar="NAME",
        help="A further column or attribute that records keep, to slice evaluations by; can be given several times.",
    ),
]
Resize = Annotated[
    bool, typer.Option("--resize", help="Scale records' images of another size; other images always are.")
]


def build_source(
    make_source: Callable[[], Source],
    output: Path,
    seed: int,
    skip_bad: int,
    beam_args: list[str],
    image: ImageSettings,
) -> None:
    """Builds the records of a source, and ends the command; see `build_data.build_data`."""
    raise typer.Exit(build_data(make_source, output, seed, skip_bad, beam_args, image))


@build_app.command()
def folder(
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the PNG and JPEG files.")],
    csv_file: Annotated[
        Path, typer.Option("--csv", metavar="FILE", help="A row for each image, below a header.")
    ],
    label: Annotated[str, typer.Option(metavar="COL", help="Column of the class.")],
    subgroup: Annotated[str, typer.Option(metavar="COL", help="Column of the subgroup.")],
    output: Output,
    split: Annotated[str | None, typer.Option(metavar="COL", help="Column of the split.")] = None,
    split_values: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT=VALUE,…",
            help="What the column has: train=0,validation=1,test=2. Those and the splits' names are known.",
        ),
    ] = None,
    split_shares: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="In place of --split: shares of train, validation and test, drawn of each group: 0.8,0.1,0.1.",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="Column of the path in the folder: filename, file, path or image unless given.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Classes in the order of their labels; VALUE=NAME renames one."),
    ] = None,
    subgroups: Annotated[str | None, typer.Option(metavar="A,B,…", help="The same of the subgroups.")] = None,
    keep: Keep = [],  # noqa: B006, typer copies it
    resize: Annotated[
        str | None, typer.Option(metavar="H,W", help="Scale images to this height and width.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=1, help="The same with H = W.")] = None,
    crop: Crop = False,
    grey: Annotated[bool, typer.Option("--grey", help="Make colour images grey.")] = False,
    color: Annotated[
        bool, typer.Option("--color", help="Make grey images colour, and drop transparency.")
    ] = False,
    seed: Seed = 1,
    skip_bad: SkipBad = 0,
    beam_args: BeamArgs = [],  # noqa: B006, typer copies it
) -> None:
    """Make records of a folder of images and a CSV file."""
    if (split is None) == (split_shares is None):
        raise _wrong("give either --split, or --split-shares to draw the splits")
    if split_values is not None and split is None:
        raise _wrong("--split-values goes with --split")
    if grey and color:
        raise _wrong("--grey and --color exclude each other")
    if resize is not None and size is not None:
        raise _wrong("--resize and --size exclude each other")
    wanted_size = (size, size) if size else None if resize is None else _size(resize)
    if crop and wanted_size is None:
        raise _wrong("--crop goes with --resize or --size")
    columns = FolderColumns(
        label=label,
        subgroup=subgroup,
        split=split,
        image=image_column,
        classes=_names("--classes", classes),
        subgroups=_names("--subgroups", subgroups),
        splits=_split_values(split_values),
        shares=_shares(split_shares),
        keep=tuple(keep),
    )
    channels = 1 if grey else 3 if color else None
    build_source(
        lambda: FolderSource(images, csv_file, columns, seed, wanted_size, channels),
        output,
        seed,
        skip_bad,
        beam_args,
        ImageSettings(resize=wanted_size is not None, crop=crop, convert_channels=grey or color),
    )


@build_app.command()
def waterbirds(
    output: Output,
    source: SourceDir = None,
    download: Download = False,
    mirror: Mirror = None,
    image_size: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Height and width of the images.")
    ] = WATERBIRDS_SIZE,
    resize: Resize = False,
    crop: SquareCrop = None,
    seed: Seed = 1,
    skip_bad: SkipBad = 0,
    beam_args: BeamArgs = [],  # noqa: B006, typer copies it
) -> None:
    """Make records of Waterbirds: birds of land and water before land and water.

    DIR holds the published records, *.tfrec (waterbirds_tfrecord_224), or the original folder with metadata.csv and
    images (waterbird_complete95_forest2water2).
    """
    found = _source("waterbirds", source, download, mirror)
    _build_published(
        lambda: waterbirds_source(found, image_size),
        output,
        resize,
        crop,
        seed,
        skip_bad,
        beam_args,
        usually_cropped=False,
    )


@build_app.command()
def celeba_undersampled(
    output: Output,
    source: SourceDir = None,
    download: Download = False,
    mirror: Mirror = None,
    label: Annotated[
        str, typer.Option(metavar="ATTRIBUTE", help="Which of the 40 is the class.")
    ] = PUBLISHED_PAIR[0],
    subgroup: Annotated[
        str, typer.Option(metavar="ATTRIBUTE", help="Which of the 40 is the subgroup.")
    ] = PUBLISHED_PAIR[1],
    take: Annotated[
        list[str],
        typer.Option(
            metavar="LABEL,SUBGROUP=N",
            help="Training images of a group, at most, drawn by the seed; can be given for each group. none takes "
            f"all; default with {' and '.join(PUBLISHED_PAIR)}: "
            + ", ".join(f"{y},{z}={most}" for (y, z), most in PUBLISHED_TAKES.items()),
        ),
    ] = [],  # noqa: B006, typer copies it
    keep: Keep = [],  # noqa: B006, typer copies it
    image_size: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Height and width of the images.")
    ] = CELEBA_SIZE,
    resize: Resize = False,
    crop: SquareCrop = None,
    seed: Seed = 1,
    skip_bad: SkipBad = 0,
    beam_args: BeamArgs = [],  # noqa: B006, typer copies it
) -> None:
    """Make records of CelebA: faces, one attribute the class and another the subgroup.

    DIR holds the published records, train/, val/ and test/ with *.tfrec (celeba_tfrecord_128), or CelebA as its makers
    publish it: img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt.
    """
    takes = _takes(take)
    found = _source("celeba-undersampled", source, download, mirror)
    _build_published(
        lambda: celeba(found, Task(label, subgroup, takes, image_size, tuple(keep))),
        output,
        resize,
        crop,
        seed,
        skip_bad,
        beam_args,
        usually_cropped=True,
    )


@build_app.command()
def mnist_correlation(
    output: Output,
    origin: Annotated[
        Literal["embedded", "tfds", "npy"],
        typer.Option(
            "--from",
            help="Of the digits that come with the project, of tensorflow_datasets, or the released arrays.",
        ),
    ] = "embedded",
    corruption: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="What is over digits: zigzag (unless given), dotted_line, stripe or translate; of tensorflow_datasets "
            "any of MNIST-C. Can be given several times, for more than two subgroups.",
        ),
    ] = [],  # noqa: B006, typer copies it
    p: Annotated[
        float | None,
        typer.Option("--p", help="Share of a class that has its usual subgroup; 0.99 unless given."),
    ] = None,
    class_size: Annotated[
        int | None, typer.Option(help="Digits of each class in training and validation; 20000 unless given.")
    ] = None,
    train_size: Annotated[int | None, typer.Option(help="Records of the training split; else all.")] = None,
    validation_size: Annotated[int | None, typer.Option(help="Likewise of the validation split.")] = None,
    test_size: Annotated[int | None, typer.Option(help="Likewise of the test split.")] = None,
    min_group_size: Annotated[
        int | None, typer.Option(help="What a sampled split has of each group at least.")
    ] = None,
    tfds_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where tensorflow_datasets keeps its data.")
    ] = None,
    source: SourceDir = None,
    download: Download = False,
    mirror: Mirror = None,
    seed: Seed = 1,
    skip_bad: SkipBad = 0,
    beam_args: BeamArgs = [],  # noqa: B006, typer copies it
) -> None:
    """Make records of MNIST-Correlation: digits over which a zigzag predicts the parity.

    --from tfds needs the package tensorflow_datasets, and takes mnist and mnist_corrupted/NAME. --from npy needs
    --source or --download (mnist_correlation_npy.zip). --skip-bad and --beam-arg go with --from npy alone: digits are
    read all or none, and become records in seconds, without Beam.
    """
    from model_patching.pipelines.build_mnist_correlation import build_embedded, build_tfds

    given = {
        "corruptions": tuple(corruption) or None,
        "p": p,
        "class_size": class_size,
        "train_size": train_size,
        "validation_size": validation_size,
        "test_size": test_size,
        "min_group_size": min_group_size,
    }
    values = {name: value for name, value in given.items() if value is not None}
    if tfds_dir is not None and origin != "tfds":
        raise _wrong("--tfds-dir goes with --from tfds")
    if (source is not None or mirror is not None) and origin != "npy":
        raise _wrong("--source and --mirror go with --from npy")
    if download and origin == "embedded":
        raise _wrong("--download goes with --from tfds and --from npy; the embedded digits are there")
    if values and origin == "npy":
        raise _wrong("the released arrays are as they are: corruption, p and sizes don't go with --from npy")
    if skip_bad and origin != "npy":
        raise _wrong(
            "--skip-bad goes with --from npy: digits are read all or none, so there are no bad records"
        )
    if beam_args and origin != "npy":
        raise _wrong(
            "--beam-arg goes with --from npy: of digits, records are made in this process, without Beam"
        )
    if origin == "embedded":
        raise typer.Exit(build_embedded(values, seed, output))
    if origin == "tfds":
        raise typer.Exit(build_tfds(values, seed, output, tfds_dir, download))
    found = _source("mnist-correlation", source, download, mirror)

    def released() -> Source:
        from model_patching.data.mnist_npy import MnistNpy

        return MnistNpy(found)

    build_source(released, output, seed, skip_bad, beam_args, ImageSettings())


@data_app.command()
def show(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="Folder of records, an Examples artifact, or one split of these."
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The contact sheet, a PNG.")] = Path(
        "contact_sheet.png"
    ),
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="On the contact sheet; train unless given.")
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Images of each group; unless given, what fits.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="PRESET", help="Whose classes and subgroups these are, for their names."
        ),
    ] = None,
) -> None:
    """Show what a folder of records holds: the counts of its groups, and a contact sheet with a row for each.

    A patched image is followed by its renditions. Exit codes: 0 done, 2 an argument or a record is wrong, or the sheet
    can't be written.
    """
    from model_patching.pipelines.show_data import show_data

    dataset = None
    if preset is not None:
        try:
            dataset = load_config(preset).data.description
        except ConfigError as error:
            raise _wrong(str(error)) from None
    raise typer.Exit(show_data(folder, output, split, columns, dataset))


def _source(dataset: str, source: Path | None, download: bool, mirror: str | None) -> Path:
    """Where the files of a published data set are; ends the command where they can't be had."""
    try:
        return source_folder(dataset, source, download, mirror)
    except ValueError as error:  # SourceError, DownloadError
        raise _wrong(str(error)) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on with what has come", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _build_published(
    make_source: Callable[[], Source],
    output: Path,
    resize: bool,
    crop: bool | None,
    seed: int,
    skip_bad: int,
    beam_args: list[str],
    usually_cropped: bool,
) -> None:
    """Builds the records of a published data set, whose images have one size in records and many in folders."""
    try:
        with working_on("reading"):
            source = make_source()
    except SourceError as error:
        raise _wrong(str(error)) from None
    # Records are scaled only where that is asked for: among them an image of another size is a sign of damage.
    resize = resize or not source.keeps_order
    if crop and not resize:
        raise _wrong(
            "--crop goes with --resize here: records' images are scaled only where that is asked for"
        )
    crop = usually_cropped if crop is None else crop
    image = ImageSettings(resize=resize, crop=crop and resize, convert_channels=True)
    build_source(lambda: source, output, seed, skip_bad, beam_args, image)


def _wrong(message: str) -> typer.Exit:
    """Says what is wrong with the arguments; the exit to raise."""
    typer.echo(message, err=True)
    return typer.Exit(BAD_INPUT)


def _size(text: str) -> tuple[int, int]:
    """Height and width of "H,W"."""
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        height = width = 0
    if height < 1 or width < 1:
        raise _wrong(f"--resize {text}: give height and width, for example --resize 64,96")
    return height, width


def _names(option: str, text: str | None) -> dict[str, str] | None:
    """Name by value of "A,B" or "VALUE=NAME,VALUE=NAME"; a name with a comma stands in quotes."""
    if text is None:
        return None
    names = {}
    for item in next(csv.reader([text], skipinitialspace=True)):
        value, _, name = item.partition("=")
        if value.strip() in names:
            raise _wrong(f"{option} {text}: '{value.strip()}' comes twice")
        names[value.strip()] = (name or value).strip()
    if len(set(names.values())) < 2 or "" in names.values():
        raise _wrong(f"{option} {text}: give at least two names, for example {option} a,b")
    return names


def _split_values(text: str | None) -> dict[str, str] | None:
    """Split by value of "train=VALUE,validation=VALUE,test=VALUE"."""
    if text is None:
        return None
    values = {}
    for item in next(csv.reader([text], skipinitialspace=True)):
        split, equals, value = (part.strip() for part in item.partition("="))
        if split not in SPLITS or not equals or value in values:
            raise _wrong(f"--split-values {text}: give each value once, as train=0,validation=1,test=2")
        values[value] = split
    if set(values.values()) != set(SPLITS):
        raise _wrong(f"--split-values {text}: give a value for each of {', '.join(SPLITS)}")
    return values


def _shares(text: str | None) -> tuple[float, float, float] | None:
    """Shares of the three splits of "A,B,C"."""
    if text is None:
        return None
    try:
        train, validation, test = (float(part) for part in text.split(","))
    except ValueError:
        train = validation = test = 0.0
    if not min(train, validation, test) > 0 or abs(train + validation + test - 1) > 1e-6:
        raise _wrong(
            f"--split-shares {text}: give three shares that make 1, for example --split-shares 0.8,0.1,0.1"
        )
    return train, validation, test


def _takes(texts: list[str]) -> dict[tuple[int, int], int] | None:
    """Number by (label, subgroup) of "LABEL,SUBGROUP=N", or nothing of "none"; None where nothing was said."""
    if not texts:
        return None
    if texts == ["none"]:
        return {}
    takes = {}
    for text in texts:
        found = re.fullmatch(r"([01]),([01])=([1-9]\d*)", text)
        if not found:
            raise _wrong(
                f"--take {text}: give label, subgroup and a number, for example --take 0,0=4054, or none"
            )
        label, subgroup, most = map(int, found.groups())
        if (label, subgroup) in takes:
            raise _wrong(f"--take {text}: the group {label},{subgroup} comes twice")
        takes[label, subgroup] = most
    return takes
