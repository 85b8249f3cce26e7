"""`model-patching translate`: renders images in another subgroup with the translators of a CycleGANTrainer.

TensorFlow is loaded once the arguments are known to be right.
"""

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rich

from model_patching.components.progress import progress_bar
from model_patching.pipelines.console import output_moved_to, say, working_on

if TYPE_CHECKING:
    import tensorflow as tf

DESCRIPTION = "translators.json"


class WrongArgument(ValueError):
    """An argument can't be used. One line that names it and says what would do."""


@dataclass(frozen=True)
class Translator:
    """One direction of a model of translators."""

    folder: Path  # a SavedModel
    source: str
    target: str
    image_shape: tuple[int, int, int]
    batch_size: int  # that it was diagnosed with; the Augmenter's where the result depends on it
    normalizes_over_batch: bool  # a result then depends on the images beside it


def translate_images(
    model: Path, images: Sequence[Path], target: str, source: str | None, output: Path, resize: bool
) -> None:
    """Writes `<output>/<name>.<target>.png` for each image and prints its path.

    The images go through the translator in the order given, in as few batches as the model's batch size allows,
    equal in size but for one image. An output that is there is overwritten.

    Args:
        model: folder of a Model artifact of a CycleGANTrainer.
        images: PNG or JPEG files of the model's size; grey and colour are converted to what the model takes.
        target: name of the subgroup to render them in.
        source: name of the subgroup that they are of; None is enough where the model has only two.
        output: folder of the results, made if it isn't there.
        resize: scale images of another size, bilinearly and without keeping their proportions.

    Raises:
        WrongArgument: nothing has been written.
        ValueError: the translator gives NaN or infinity.
        OSError: a file can't be written; those whose path was printed are there, each whole.
    """
    translator = find_translator(model, target, source)
    outputs = output_paths(images, target, output)
    if translator.normalizes_over_batch:
        print(
            f"note: {model} normalizes over the batch (of {translator.batch_size} images at most), so a result "
            "depends on the images beside it",
            file=sys.stderr,
        )
    # What TensorFlow says while it starts is nobody's concern here.
    with output_moved_to(Path(os.devnull)):
        with working_on("loading TensorFlow"):
            # Loads TensorFlow.
            from model_patching.components.augmenter.load_translator import TranslatorError, load_translator

            try:
                translate = load_translator(str(translator.folder))
            except TranslatorError as error:
                raise WrongArgument(error) from None
        for image in images:
            read_image(image, translator.image_shape, resize)
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WrongArgument(f"--output {output}: can't be made: {error.strerror}") from None
        many = len(images) > translator.batch_size and rich.get_console().is_terminal
        bar = progress_bar(f"{translator.source} → {translator.target}", len(images))
        with bar if many else nullcontext() as shown:
            for batch in _batches(len(images), translator.batch_size):
                pixels = [read_image(images[index], translator.image_shape, resize) for index in batch]
                for index, png in zip(batch, _render(translate, pixels, translator), strict=True):
                    _write_whole(outputs[index], png)
                    say(str(outputs[index]))
                if shown is not None:
                    shown.advance(len(batch))


def find_translator(model: Path, target: str, source: str | None) -> Translator:
    """Finds the translator from one subgroup into another.

    Raises:
        WrongArgument: the folder isn't a model of translators, or it has no such subgroup or translator.
    """
    file = model / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        subgroups = list(description["subgroups"])
        pairs = [tuple(pair) for pair in description["pairs"]]
        shape = tuple(description["image_shape"])
        batch_size = int(description["translate_batch_size"])
        by_batch = bool(description["normalizes_over_batch"])
    except (FileNotFoundError, NotADirectoryError):
        raise WrongArgument(
            f"{model}: there is no {DESCRIPTION}; give the folder of a CycleGANTrainer's model, "
            "<root>/<pipeline>/CycleGANTrainer/model/<number>"
        ) from None
    except OSError as error:
        raise WrongArgument(f"{file}: can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise WrongArgument(f"{file}: not what a CycleGANTrainer writes: {error!r}") from None

    _check_subgroup("--to", target, subgroups)
    if source is None:
        others = [name for name in subgroups if name != target]
        if len(others) > 1:
            raise WrongArgument(
                f"--from is needed, the model has more than two subgroups: {', '.join(subgroups)}"
            )
        (source,) = others
    _check_subgroup("--from", source, subgroups)
    if source == target:
        raise WrongArgument(f"--from and --to are both {target}")
    pair = subgroups.index(source), subgroups.index(target)
    if pair not in pairs:
        raise WrongArgument(f"{model}: has no translator {source} → {target}")
    return Translator(
        model / "translators" / f"{pair[0]}_to_{pair[1]}", source, target, shape, batch_size, by_batch
    )


def output_paths(images: Sequence[Path], target: str, output: Path) -> list[Path]:
    """Where each image's rendition goes: `<output>/<name>.<target>.png`.

    Raises:
        WrongArgument: an image isn't there, two would be written to one file, or one over an image that is given.
    """
    given = {image.resolve() for image in images}
    image_of: dict[Path, Path] = {}
    for image in images:
        if not image.is_file():
            raise WrongArgument(f"{image}: there is no such file")
        path = output / f"{image.stem}.{target.replace('/', '-')}.png"
        if path in image_of:
            raise WrongArgument(
                f"{image_of[path]} and {image}: both would be written to {path}; give them one by one, each with "
                "another --output"
            )
        if path.resolve() in given:
            raise WrongArgument(
                f"{image}: would be written over {path}, which is to be translated too; choose another --output"
            )
        image_of[path] = image
    return list(image_of)


def read_image(path: Path, shape: tuple[int, int, int], resize: bool) -> "tf.Tensor":
    """Reads an image file.

    Returns:
        uint8 of the shape [H, W, C].

    Raises:
        WrongArgument: it can't be decoded, or has another size and `resize` is off.
    """
    import tensorflow as tf

    try:
        image = tf.io.decode_image(path.read_bytes(), channels=shape[2], expand_animations=False)
    except OSError as error:
        raise WrongArgument(f"{path}: can't be read: {error.strerror}") from None
    except tf.errors.InvalidArgumentError:
        raise WrongArgument(f"{path}: can't be decoded: not a PNG or JPEG image, or damaged") from None
    if image.shape == shape:
        return image
    if not resize:
        raise WrongArgument(
            f"{path}: {image.shape[1]} × {image.shape[0]} pixels, the model takes {shape[1]} × {shape[0]}; "
            "--resize scales it"
        )
    scaled = tf.image.resize(image, shape[:2], "bilinear", antialias=True)
    return tf.cast(tf.round(scaled), tf.uint8)


def _check_subgroup(option: str, name: str, subgroups: Sequence[str]) -> None:
    if name in subgroups:
        return
    close = difflib.get_close_matches(name, subgroups, n=1)
    suggestion = f", did you mean '{close[0]}'?" if close else ""
    raise WrongArgument(
        f"{option} {name}: the model has no such subgroup{suggestion}; it has {', '.join(subgroups)}"
    )


def _batches(count: int, batch_size: int) -> Iterator[list[int]]:
    for part in np.array_split(np.arange(count), -(-count // batch_size)):
        yield part.tolist()


def _render(
    translate: "Callable[[tf.Tensor], tf.Tensor]", pixels: "Sequence[tf.Tensor]", translator: Translator
) -> list[bytes]:
    """PNG files of the renditions of one batch."""
    import tensorflow as tf

    from model_patching.data.schema import encode_png, to_float, to_uint8

    renditions = translate(to_float(tf.stack(pixels)))
    if not tf.reduce_all(tf.math.is_finite(renditions)):
        raise ValueError(f"{translator.folder}: its output has NaN or infinity; the training diverged")
    return [encode_png(image).numpy() for image in to_uint8(renditions)]


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
