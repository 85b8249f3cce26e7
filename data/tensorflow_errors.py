"""TensorFlow's errors in words for people."""

import re

import tensorflow as tf


def first_line(error: tf.errors.OpError) -> str:
    """What went wrong, in one line, without the graph's nodes and the user's code lines around it."""
    message = error.message.partition("\n\t [[")[0].strip()
    if message.startswith("Graph execution error:"):  # then a traceback, then what went wrong
        message = message.splitlines()[-1]
    message = re.sub(r"^(\{\{.*?\}\}\s*)+", "", message)
    message = re.sub(r"^Error in user-defined function passed to .*? with iterator: \S+: ", "", message)
    return re.sub(r" \[Op:.*", "", message.splitlines()[0]).strip()
