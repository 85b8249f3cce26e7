import pytest
import tensorflow as tf

from model_patching.data.tensorflow_errors import first_line


@pytest.mark.parametrize(
    "message, line",
    [
        ("{{function_node __wrapped__A}} {{node B}} Bad size. [Op:A]\n\t [[{{node B}}]]", "Bad size."),
        ("  Bad size: [4] is not [5]\nmore", "Bad size: [4] is not [5]"),
    ],
)
def test_names_of_nodes_are_left_out(message, line):
    assert first_line(tf.errors.InvalidArgumentError(None, None, message)) == line


@pytest.mark.parametrize(
    "decode",
    [
        lambda: tf.io.decode_image(b"GIF?"),
        lambda: tf.function(tf.io.decode_image)(tf.constant(b"GIF?")),
        lambda: next(iter(tf.data.Dataset.from_tensors(b"GIF?").map(tf.io.decode_image))),
    ],
)
def test_real_errors(decode):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode()
    assert "{{" in caught.value.message
    line = first_line(caught.value)
    assert line.startswith("Unknown image file format. One of JPEG") and line.endswith("required.")
