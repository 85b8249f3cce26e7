"""What the makers of records end with when they can't write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from model_patching.data.build import BuildError
from model_patching.data.tensorflow_errors import first_line


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Turns what a full disk raises, which depends on who writes, into one kind of error.

    Args:
        folder: that is being filled. It will be gone, so that the error names the one that it lies in.
    """
    try:
        yield
    except OSError as error:
        raise BuildError(f"{Path(folder).parent}: can't be written: {error.strerror or error}") from error
    except tf.errors.OpError as error:
        reason = first_line(error).rpartition("; ")[2]
        raise BuildError(f"{Path(folder).parent}: can't be written: {reason}") from error
