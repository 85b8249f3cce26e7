"""Notices record files that were cut off."""

import gzip

import tensorflow as tf

CHUNK = 2**20  # bytes


def is_truncated(path: str) -> bool:
    """Whether a gzip file ends too early: TensorFlow takes one that was cut off between two records for a whole one."""
    with tf.io.gfile.GFile(path, "rb") as file, gzip.GzipFile(fileobj=file) as stream:
        try:
            while stream.read(CHUNK):
                pass
        except (EOFError, gzip.BadGzipFile):
            return True
    return False
