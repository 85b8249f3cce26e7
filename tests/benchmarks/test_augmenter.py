import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.data import schema

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "augmenter.py"
SPEC = importlib.util.spec_from_file_location("augmenter_benchmark", PATH)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def patched_images(files):
    """Decoded, by the example's id."""
    records = [schema.deserialize(item) for item in files.as_numpy_iterator()]
    return {
        record.example_id: [tf.io.decode_image(image).numpy().astype(int) for image in record.patched_images]
        for record in records
    }


def test_the_published_way_does_the_same_work(tmp_path):
    settings = AugmenterSettings(batch_size=5)
    bench = benchmark.Bench(tmp_path, (28, 28, 1), {"generator_filters": (4, 8)}, settings)
    source = bench.write_source(12)
    (tmp_path / "out").mkdir()
    bench.augmenter(source, tmp_path / "out", benchmark.IN_MEMORY)
    bench.published_way(source, tmp_path / "published")
    ours = patched_images(schema.read_records(sorted((tmp_path / "out").iterdir())))
    published = patched_images(tf.data.TFRecordDataset(str(tmp_path / "published")))
    assert len(ours) == 12 and ours.keys() == published.keys()
    for example_id, images in ours.items():
        assert np.abs(np.array(images) - published[example_id]).max() <= 1  # other batches round differently
    assert sum(len(batch) for batch in bench.decoded_batches(source)) == 12


def test_rows_take_the_start_off_and_compare():
    def times(start, whole):
        return [benchmark.Times(start, 2 * start)] * 3, [benchmark.Times(whole, 2 * whole)] * 3

    rows = list(
        benchmark.rows(
            "case",
            {
                "generators alone": times(0.0, 10.0),
                "published way": times(1.0, 31.0),
                "in memory": times(2.0, 14.5),
            },
            images=108,
        )
    )
    # 100 images besides the start in 10, 30 and 12.5 seconds.
    assert [row[2:5] for row in rows] == [
        ("10.0", "100 %", "3.00"),
        ("3.3", "33 %", "1.00"),
        ("8.0", "80 %", "2.40"),
    ]
    assert [row[5:9] for row in rows][2] == ("250.00", "80 %", "2.40", "2.0")


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3)])
def test_images_have_the_shape(shape):
    images = [tf.io.decode_image(image).numpy() for image in benchmark.encoded_images(shape, 3)]
    assert [image.shape for image in images] == [shape] * 3
    assert images[0].std() > 10
