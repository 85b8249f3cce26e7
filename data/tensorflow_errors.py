"""TensorFlow's errors in words for people."""

import re

import tensorflow as tf


def first_line(error: tf.errors.OpError) -> str:
    """What went wrong, in one line, without the names of the graph's nodes around it."""
    message = re.sub(r"^(\{\{.*?\}\}\s*)+", "", error.message.strip())
    return re.sub(r" \[Op:.*", "", message.splitlines()[0]).strip()
